//! The derives of the crate `algebra`: `Semigroup`, `Monoid`, `Group`, `Commutative`, `Idempotent` field by field, and
//! `Codec`.
//!
//! They are re-exported by `algebra` beside the traits; take them from there. What they generate names `::algebra`; a
//! program that has the crate under another path says so: `#[algebra(crate = sanderling::algebra)]`.
//!
//! Not here: enums and unions (a sum of two variants has no meaning), field attributes (a field that needs another sum
//! takes another type).

mod bounds;
mod codec;
mod input;
mod structures;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::input::Struct;
use crate::structures::Marker;

fn expand(
    derive: &str,
    input: DeriveInput,
    generate: impl FnOnce(&Struct) -> proc_macro2::TokenStream,
) -> TokenStream {
    match Struct::read(derive, input) {
        Ok(read) => generate(&read),
        Err(error) => error.into_compile_error(),
    }
    .into()
}

/// `(a₁, a₂, …) ⊕ (b₁, b₂, …) = (a₁ ⊕ b₁, a₂ ⊕ b₂, …)`: each field by its own sum.
///
/// Every field must be a `Semigroup`. `#[algebra(crate = path)]` says where the crate is, if not at `::algebra`.
#[proc_macro_derive(Semigroup, attributes(algebra))]
pub fn semigroup(input: TokenStream) -> TokenStream {
    expand("Semigroup", parse_macro_input!(input), structures::semigroup)
}

/// The zero is every field's zero. Every field must be a `Monoid`; derive `Semigroup` too.
#[proc_macro_derive(Monoid, attributes(algebra))]
pub fn monoid(input: TokenStream) -> TokenStream {
    expand("Monoid", parse_macro_input!(input), structures::monoid)
}

/// The inverse is every field's inverse. Every field must be a `Group`; derive `Semigroup` and `Monoid` too.
#[proc_macro_derive(Group, attributes(algebra))]
pub fn group(input: TokenStream) -> TokenStream {
    expand("Group", parse_macro_input!(input), structures::group)
}

/// The order does not count where it counts for no field. Every field must be `Commutative`; derive `Semigroup` too.
#[proc_macro_derive(Commutative, attributes(algebra))]
pub fn commutative(input: TokenStream) -> TokenStream {
    expand("Commutative", parse_macro_input!(input), |read| {
        structures::marker(read, Marker::Commutative)
    })
}

/// What comes twice counts once where it does for every field. Every field must be `Idempotent`; derive `Semigroup` too.
#[proc_macro_derive(Idempotent, attributes(algebra))]
pub fn idempotent(input: TokenStream) -> TokenStream {
    expand("Idempotent", parse_macro_input!(input), |read| {
        structures::marker(read, Marker::Idempotent)
    })
}

/// A version byte and the fields in their order.
///
/// `#[codec(version = 2)]` (0 to 255, 1 by default) is to be raised when fields are added, removed, moved or change
/// their type: bytes of another version are refused with `DecodeErrorKind::Version`. Every field must be `Codec`.
#[proc_macro_derive(Codec, attributes(algebra, codec))]
pub fn codec(input: TokenStream) -> TokenStream {
    expand("Codec", parse_macro_input!(input), codec::codec)
}
