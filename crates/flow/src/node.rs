//! The nodes behind producers: one struct per primitive, walked and dropped without recursion.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::graph::NodeKind;
use crate::planner::{AnyFunction, ElementType, Function, Work};
use crate::platform::{DeltaFn, FlatMapFn, JoinedSum, KeyFn, Summed};
use crate::{Element, Joined, Key, NodeInfo, Platform, Producer, SumByKey, Value};

/// A node whose element type only its own code knows.
pub(crate) trait Node<P: Platform>: Any + Send + Sync {
    fn shape(&self) -> Shape<'_>;
    fn parents(&self) -> Vec<NodeRef<P>>;
    /// What knows the type of its elements.
    fn typed(&self) -> &'static dyn Typed<P>;
    /// How a planner sees it.
    fn work(&self) -> Work {
        Work::Written
    }
    /// The stream of this node, boxed; the streams of its parents are there.
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any>;
}

/// What a graph shows of a node.
pub(crate) enum Shape<'a> {
    Node(NodeKind),
    /// Not a node of its own: names its parent.
    Name(&'a str),
}

/// A shared node. Dropping the last one of a long chain needs no stack.
pub(crate) struct NodeRef<P: Platform>(Option<Arc<dyn Node<P>>>);

impl<P: Platform> NodeRef<P> {
    pub(crate) fn new(node: impl Node<P>) -> Self {
        Self(Some(Arc::new(node)))
    }

    pub(crate) fn get(&self) -> &dyn Node<P> {
        &**self.0.as_ref().expect("only drop takes it")
    }

    /// Tells nodes apart while they live.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self.get()).cast::<()>().addr()
    }
}

impl<P: Platform> Clone for NodeRef<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

type Doomed = Arc<dyn Any + Send + Sync>;

thread_local! {
    /// Nodes that wait to be dropped by the outermost drop of this thread; `None` when there is no such drop.
    static DOOMED: RefCell<Option<Vec<Doomed>>> = const { RefCell::new(None) };
}

impl<P: Platform> Drop for NodeRef<P> {
    fn drop(&mut self) {
        let Some(node) = self.0.take() else { return };
        if Arc::strong_count(&node) > 1 {
            return;
        }
        let mut node: Option<Doomed> = Some(node);
        // At the end of a thread the list may be gone: then `node` is dropped in place.
        let outermost = DOOMED.try_with(|doomed| {
            let mut doomed = doomed.borrow_mut();
            let outermost = doomed.is_none();
            doomed.get_or_insert_default().extend(node.take());
            outermost
        });
        if outermost == Ok(true) {
            while let Some(next) = DOOMED.with(|doomed| doomed.borrow_mut().as_mut().and_then(Vec::pop)) {
                drop(next);
            }
            DOOMED.with(|doomed| *doomed.borrow_mut() = None);
        }
    }
}

/// A type of elements, on a platform.
pub(crate) trait Typed<P: Platform>: Sync {
    fn element(&self) -> ElementType;
    /// The merge of what the lowering has for inputs.
    fn merge(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any>;
}

/// Knows one type.
struct Of<T>(PhantomData<fn() -> T>);

impl<P: Platform, T: Element> Typed<P> for Of<T> {
    fn element(&self) -> ElementType {
        ElementType {
            id: TypeId::of::<T>(),
            name: std::any::type_name::<T>(),
        }
    }

    fn merge(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        let sides = (0..lowering.inputs.len()).map(|n| lowering.input::<T>(n));
        let sides = sides.collect();
        Box::new(P::merge(lowering.plan, info, sides))
    }
}

fn of<P: Platform, T: Element>() -> &'static dyn Typed<P> {
    const { &Of::<T>(PhantomData) }
}

/// The plan of a job, and the streams that the node reads that is lowered now.
pub(crate) struct Lowering<'a, P: Platform> {
    pub(crate) plan: &'a mut P::Plan,
    /// In the order of its parents; for a join the deltas of its sum come after them.
    pub(crate) inputs: Vec<&'a dyn Any>,
    /// Of a function: what the planner has made of it.
    pub(crate) function: Option<&'a dyn AnyFunction>,
}

impl<P: Platform> Lowering<'_, P> {
    fn input<T: Element>(&self, n: usize) -> P::Stream<T> {
        self.inputs[n]
            .downcast_ref::<P::Stream<T>>()
            .expect("a node's stream has the node's type")
            .clone()
    }
}

pub(crate) struct SourceNode<P: Platform, T: Element>(pub(crate) P::Source<T>);

impl<P: Platform, T: Element> Node<P> for SourceNode<P, T> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(NodeKind::Source)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, T>()
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        Vec::new()
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        Box::new(P::source(lowering.plan, info, &self.0))
    }
}

pub(crate) struct FlatMapNode<P: Platform, T: Element, U: Element> {
    pub(crate) kind: NodeKind,
    pub(crate) parent: Producer<P, T>,
    pub(crate) function: FlatMapFn<T, U>,
}

impl<P: Platform, T: Element, U: Element> Node<P> for FlatMapNode<P, T, U> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(self.kind)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, U>()
    }
    fn work(&self) -> Work {
        Work::Function(Arc::new(Function(self.function.clone())))
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.parent.node.clone()]
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        let input = lowering.input(0);
        let planned = lowering.function.and_then(Function::of);
        let function = planned.as_ref().unwrap_or(&self.function);
        Box::new(P::flat_map(lowering.plan, info, input, function))
    }
}

pub(crate) struct MergeNode<P: Platform, T: Element> {
    pub(crate) left: Producer<P, T>,
    pub(crate) right: Producer<P, T>,
}

impl<P: Platform, T: Element> Node<P> for MergeNode<P, T> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(NodeKind::Merge)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, T>()
    }
    fn work(&self) -> Work {
        Work::Merge
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.left.node.clone(), self.right.node.clone()]
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        of::<P, T>().merge(info, lowering)
    }
}

pub(crate) struct NameNode<P: Platform, T: Element> {
    pub(crate) parent: Producer<P, T>,
    pub(crate) name: String,
}

impl<P: Platform, T: Element> Node<P> for NameNode<P, T> {
    fn shape(&self) -> Shape<'_> {
        Shape::Name(&self.name)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, T>()
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.parent.node.clone()]
    }
    fn lower(&self, _: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        Box::new(lowering.input::<T>(0))
    }
}

pub(crate) struct LookupNode<P: Platform, T: Element, K: Key, V: Element> {
    pub(crate) parent: Producer<P, T>,
    pub(crate) key: KeyFn<T, K>,
    pub(crate) service: P::Service<K, V>,
}

impl<P: Platform, T: Element, K: Key, V: Element> Node<P> for LookupNode<P, T, K, V> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(NodeKind::Lookup)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, (T, Option<V>)>()
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.parent.node.clone()]
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        let input = lowering.input(0);
        Box::new(P::lookup(lowering.plan, info, input, &self.key, &self.service))
    }
}

pub(crate) struct SumNode<P: Platform, K: Key, V: Value> {
    pub(crate) parent: Producer<P, (K, V)>,
    pub(crate) store: P::Store<K, V>,
}

impl<P: Platform, K: Key, V: Value> Node<P> for SumNode<P, K, V> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(NodeKind::Sum)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, Summed<K, V>>()
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.parent.node.clone()]
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        let input = lowering.input(0);
        Box::new(P::sum_by_key(lowering.plan, info, input, &self.store))
    }
}

pub(crate) struct WriteNode<P: Platform, T: Element> {
    pub(crate) parent: Producer<P, T>,
    pub(crate) sink: P::Sink<T>,
}

impl<P: Platform, T: Element> Node<P> for WriteNode<P, T> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(NodeKind::Write)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, T>()
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.parent.node.clone()]
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        let input = lowering.input(0);
        Box::new(P::write(lowering.plan, info, input, &self.sink))
    }
}

pub(crate) struct JoinNode<P: Platform, K: Key, V: Element, J: Value> {
    pub(crate) left: Producer<P, (K, V)>,
    pub(crate) sum: SumByKey<P, K, J>,
}

impl<P: Platform, K: Key, V: Element, J: Value> Node<P> for JoinNode<P, K, V, J> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(NodeKind::Join)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, Joined<K, V, J>>()
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.left.node.clone(), self.sum.changes.node.clone()]
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        let left = lowering.input::<(K, V)>(0);
        let sum = JoinedSum {
            node: info.parents[1],
            deltas: lowering.input(2),
            changes: lowering.input(1),
            store: &self.sum.store,
        };
        Box::new(P::left_join_sum(lowering.plan, info, left, sum))
    }
}

pub(crate) struct JoinSumNode<P: Platform, K: Key, V: Element, J: Value> {
    pub(crate) parent: Producer<P, (K, V)>,
    pub(crate) store: P::Store<K, J>,
    pub(crate) function: DeltaFn<V, J>,
}

impl<P: Platform, K: Key, V: Element, J: Value> Node<P> for JoinSumNode<P, K, V, J> {
    fn shape(&self) -> Shape<'_> {
        Shape::Node(NodeKind::JoinSum)
    }
    fn typed(&self) -> &'static dyn Typed<P> {
        of::<P, Joined<K, V, J>>()
    }
    fn parents(&self) -> Vec<NodeRef<P>> {
        vec![self.parent.node.clone()]
    }
    fn lower(&self, info: &NodeInfo, lowering: &mut Lowering<'_, P>) -> Box<dyn Any> {
        let input = lowering.input(0);
        Box::new(P::left_join_and_sum(
            lowering.plan,
            info,
            input,
            &self.store,
            &self.function,
        ))
    }
}
