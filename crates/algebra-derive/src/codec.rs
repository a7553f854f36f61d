//! `Codec`: a version byte and the fields in their order.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use crate::bounds::at_type;
use crate::input::Struct;
use crate::structures::implement;

/// `impl Codec`.
pub(crate) fn codec(read: &Struct) -> TokenStream {
    let algebra = &read.algebra;
    let trait_path = quote!(#algebra::codec::Codec);
    let writes = read.fields.iter().map(|(member, ty)| {
        let its = at_type(ty, &trait_path);
        quote_spanned!(ty.span()=> #its::encode(&self.#member, out);)
    });
    let reads = read.fields.iter().map(|(member, ty)| {
        let its = at_type(ty, &trait_path);
        quote_spanned!(ty.span()=> #member: #its::decode(input)?,)
    });
    let (writes, reads) = (quote!(#(#writes)*), quote!(#(#reads)*));
    let (name, version) = (read.name.to_string(), read.version);
    implement(
        read,
        &trait_path,
        &quote! {
            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                out.push(#version);
                #writes
            }

            fn decode(
                input: &mut #algebra::codec::Input<'_>,
            ) -> ::std::result::Result<Self, #algebra::codec::DecodeError> {
                input.record(#name, #version, |input| ::std::result::Result::Ok(Self { #reads }))
            }
        },
    )
}
