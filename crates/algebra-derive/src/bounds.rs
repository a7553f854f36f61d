//! What must hold for a generic struct: `FieldType: Trait` for the fields whose type names a type parameter; and of a
//! parameter that stands only in fields that hold the struct itself, `Parameter: Trait`.
//!
//! The other fields are checked in the generated code, where the compiler shows the field; a bound without a parameter
//! it would report as a bound of the whole.

use std::collections::BTreeSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Generics, Type, parse_quote, parse_quote_spanned};

use crate::input::Struct;

/// The struct's generics with the bounds that `trait_path` needs.
pub(crate) fn with_bounds(read: &Struct, trait_path: &TokenStream) -> Generics {
    let parameters: BTreeSet<Ident> = read
        .generics
        .type_params()
        .map(|parameter| parameter.ident.clone())
        .collect();
    let mut generics = read.generics.clone();
    let (mut bound, mut recursive) = (BTreeSet::new(), BTreeSet::new());
    for (_, ty) in &read.fields {
        let names = names(ty.to_token_stream());
        let named = parameters.intersection(&names).cloned();
        if names.contains(&read.name) || names.iter().any(|name| name == "Self") {
            // A bound that needs itself to hold never does.
            recursive.extend(named);
            continue;
        }
        let mut named = named.peekable();
        if named.peek().is_some() {
            bound.extend(named);
            let predicate = parse_quote_spanned!(ty.span()=> #ty: #trait_path);
            generics.make_where_clause().predicates.push(predicate);
        }
    }
    for parameter in recursive.difference(&bound) {
        let predicate = parse_quote!(#parameter: #trait_path);
        generics.make_where_clause().predicates.push(predicate);
    }
    generics
}

/// `::algebra::Trait` as if written at the type: there the compiler reports what is missing.
pub(crate) fn at_type(ty: &Type, trait_path: &TokenStream) -> TokenStream {
    let placed = trait_path.clone().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(ty.span()));
        token
    });
    let placed: TokenStream = placed.collect();
    quote_spanned!(ty.span()=> <#ty as #placed>)
}

/// The type with `Self` spelt out, for where there is none.
pub(crate) fn without_self(read: &Struct, ty: &Type) -> TokenStream {
    let name = &read.name;
    let (_, arguments, _) = read.generics.split_for_impl();
    replace_self(ty.to_token_stream(), &quote!(#name #arguments))
}

fn replace_self(tokens: TokenStream, whole: &TokenStream) -> TokenStream {
    let replaced = tokens.into_iter().flat_map(|token| match token {
        TokenTree::Ident(name) if name == "Self" => whole.clone(),
        TokenTree::Group(group) => {
            let mut inner = proc_macro2::Group::new(group.delimiter(), replace_self(group.stream(), whole));
            inner.set_span(group.span());
            TokenTree::Group(inner).into()
        }
        other => other.into(),
    });
    replaced.collect()
}

/// Every name in it; more than are parameters, which only costs a bound.
fn names(tokens: TokenStream) -> BTreeSet<Ident> {
    let mut found = BTreeSet::new();
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                found.insert(name);
            }
            TokenTree::Group(group) => found.extend(names(group.stream())),
            _ => {}
        }
    }
    found
}
