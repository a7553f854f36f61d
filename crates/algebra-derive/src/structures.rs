//! The structures, field by field.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use crate::bounds::{at_type, with_bounds, without_self};
use crate::input::Struct;

/// `impl Semigroup`.
pub(crate) fn semigroup(read: &Struct) -> TokenStream {
    let trait_path = path(read, "Semigroup");
    let sums = read.fields.iter().map(|(member, ty)| {
        let its = at_type(ty, &trait_path);
        quote_spanned!(ty.span()=> #its::plus(&mut self.#member, right.#member);)
    });
    let sums = quote!(#(#sums)*);
    let right = match read.fields.len() {
        0 => quote!(_right),
        _ => quote!(right),
    };
    implement(
        read,
        &trait_path,
        &quote! {
            #[inline]
            fn plus(&mut self, #right: Self) {
                #sums
            }
        },
    )
}

/// `impl Monoid`.
pub(crate) fn monoid(read: &Struct) -> TokenStream {
    let trait_path = path(read, "Monoid");
    let zeros = read.fields.iter().map(|(member, ty)| {
        let its = at_type(ty, &trait_path);
        quote_spanned!(ty.span()=> #member: #its::zero(),)
    });
    let tests = read.fields.iter().map(|(member, ty)| {
        let its = at_type(ty, &trait_path);
        quote_spanned!(ty.span()=> && #its::is_zero(&self.#member))
    });
    let (zeros, tests) = (quote!(#(#zeros)*), quote!(#(#tests)*));
    implement(
        read,
        &trait_path,
        &quote! {
            #[inline]
            fn zero() -> Self {
                Self { #zeros }
            }

            #[inline]
            fn is_zero(&self) -> bool {
                true #tests
            }
        },
    )
}

/// `impl Group`.
pub(crate) fn group(read: &Struct) -> TokenStream {
    let trait_path = path(read, "Group");
    let inverses = read.fields.iter().map(|(member, ty)| {
        let its = at_type(ty, &trait_path);
        quote_spanned!(ty.span()=> #its::negate(&mut self.#member);)
    });
    let inverses = quote!(#(#inverses)*);
    implement(
        read,
        &trait_path,
        &quote! {
            #[inline]
            fn negate(&mut self) {
                #inverses
            }
        },
    )
}

/// A law without a method.
#[derive(Clone, Copy)]
pub(crate) enum Marker {
    Commutative,
    Idempotent,
}

/// `impl Commutative` or `impl Idempotent`, and a function that is never called, for the compiler to check each field.
pub(crate) fn marker(read: &Struct, marker: Marker) -> TokenStream {
    let trait_path = path(
        read,
        match marker {
            Marker::Commutative => "Commutative",
            Marker::Idempotent => "Idempotent",
        },
    );
    let implementation = implement(read, &trait_path, &TokenStream::new());
    let generics = with_bounds(read, &trait_path);
    let (parameters, _, bounds) = generics.split_for_impl();
    let fields = read.fields.iter().map(|(_, ty)| {
        let spelt = without_self(read, ty);
        quote_spanned!(ty.span()=> _every_field_must_be::<#spelt>();)
    });
    let fields = quote!(#(#fields)*);
    quote! {
        #implementation
        const _: () = {
            fn _every_field_must_be<_T: #trait_path>() {}
            fn _checked #parameters () #bounds {
                #fields
            }
        };
    }
}

/// `::algebra::Name`.
pub(crate) fn path(read: &Struct, name: &str) -> TokenStream {
    let algebra = &read.algebra;
    let name = Ident::new(name, Span::call_site());
    quote!(#algebra::#name)
}

/// The block around the methods.
pub(crate) fn implement(read: &Struct, trait_path: &TokenStream, methods: &TokenStream) -> TokenStream {
    let generics = with_bounds(read, trait_path);
    let (parameters, _, bounds) = generics.split_for_impl();
    let (_, arguments, _) = read.generics.split_for_impl();
    let name = &read.name;
    quote! {
        #[automatically_derived]
        impl #parameters #trait_path for #name #arguments #bounds {
            #methods
        }
    }
}
