//! What each message type is read as, found out once.

use std::collections::HashMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// Message types by number; the first is that of the events.
pub(super) struct Plan(pub(super) Vec<Vec<Field>>);

pub(super) struct Field {
    pub(super) descriptor: FieldDescriptor,
    pub(super) name: String,
    pub(super) shape: Shape,
    /// What one value is (of a map, the value).
    pub(super) of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
}

pub(super) enum Of {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    Enum(HashMap<i32, String>),
    /// By its number in the plan.
    Message(usize),
    Timestamp,
    Duration,
    /// A scalar in a message of its own.
    Wrapped(Box<Of>),
    /// `Struct`, `Value`, `ListValue`.
    Json,
}

impl Plan {
    pub(super) fn of(root: &MessageDescriptor) -> Self {
        let mut planner = Planner {
            numbers: HashMap::new(),
            waiting: Vec::new(),
        };
        planner.number(root);
        let mut plan = Vec::new();
        while let Some(message) = planner.waiting.get(plan.len()).cloned() {
            let fields = message.fields().map(|field| planner.field(field)).collect();
            plan.push(fields);
        }
        Self(plan)
    }
}

struct Planner {
    numbers: HashMap<String, usize>,
    /// Messages by number, planned up to some place.
    waiting: Vec<MessageDescriptor>,
}

impl Planner {
    fn number(&mut self, message: &MessageDescriptor) -> usize {
        let next = self.waiting.len();
        let number = *self.numbers.entry(message.full_name().to_owned()).or_insert(next);
        if number == next {
            self.waiting.push(message.clone());
        }
        number
    }

    fn field(&mut self, descriptor: FieldDescriptor) -> Field {
        let (shape, kind) = match descriptor.kind() {
            Kind::Message(entry) if descriptor.is_map() => (Shape::Map, entry.map_entry_value_field().kind()),
            kind if descriptor.is_list() => (Shape::List, kind),
            kind => (Shape::One, kind),
        };
        Field {
            name: descriptor.name().to_owned(),
            of: self.of(kind),
            shape,
            descriptor,
        }
    }

    fn of(&mut self, kind: Kind) -> Of {
        match kind {
            Kind::Bool => Of::Bool,
            Kind::Double | Kind::Float => Of::Float,
            Kind::String => Of::Text,
            Kind::Bytes => Of::Bytes,
            Kind::Enum(of) => Of::Enum(
                of.values()
                    .map(|value| (value.number(), value.name().to_owned()))
                    .collect(),
            ),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => Of::Timestamp,
                "google.protobuf.Duration" => Of::Duration,
                "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue" => Of::Json,
                "google.protobuf.DoubleValue"
                | "google.protobuf.FloatValue"
                | "google.protobuf.Int64Value"
                | "google.protobuf.UInt64Value"
                | "google.protobuf.Int32Value"
                | "google.protobuf.UInt32Value"
                | "google.protobuf.BoolValue"
                | "google.protobuf.StringValue"
                | "google.protobuf.BytesValue" => match message.get_field(1) {
                    Some(value) => Of::Wrapped(Box::new(self.of(value.kind()))),
                    None => Of::Message(self.number(&message)),
                },
                _ => Of::Message(self.number(&message)),
            },
            _ => Of::Int,
        }
    }
}
