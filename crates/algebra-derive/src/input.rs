//! What a derive is given, read: the fields and the attributes; or why it cannot be.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Generics, LitInt, Member, Path, Type, parse_quote};

/// A struct to derive for.
pub(crate) struct Struct {
    /// Its name.
    pub(crate) name: Ident,
    /// Its generics, as declared.
    pub(crate) generics: Generics,
    /// Its fields in order: how to reach each, and its type.
    pub(crate) fields: Vec<(Member, Type)>,
    /// Where the crate `algebra` is.
    pub(crate) algebra: Path,
    /// `#[codec(version = …)]`.
    pub(crate) version: u8,
}

impl Struct {
    /// Reads it, or says at the right place what is wrong.
    pub(crate) fn read(derive: &str, input: DeriveInput) -> syn::Result<Self> {
        let mut read = Self {
            fields: fields(derive, &input)?,
            algebra: parse_quote!(::algebra),
            version: 1,
            name: input.ident,
            generics: input.generics,
        };
        for attribute in &input.attrs {
            if attribute.path().is_ident("algebra") {
                read.algebra_attribute(attribute)?;
            } else if attribute.path().is_ident("codec") {
                read.codec_attribute(attribute)?;
            }
        }
        Ok(read)
    }

    fn algebra_attribute(&mut self, attribute: &Attribute) -> syn::Result<()> {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown setting; there is `crate = path::of::algebra`"));
            }
            self.algebra = meta.value()?.call(Path::parse_mod_style)?;
            Ok(())
        })
    }

    fn codec_attribute(&mut self, attribute: &Attribute) -> syn::Result<()> {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("version") {
                return Err(meta.error("unknown setting; there is `version = 1`"));
            }
            let version: LitInt = meta.value()?.parse()?;
            self.version = version
                .base10_parse()
                .map_err(|_| syn::Error::new(version.span(), "a version is one byte: 0 to 255"))?;
            Ok(())
        })
    }
}

fn fields(derive: &str, input: &DeriveInput) -> syn::Result<Vec<(Member, Type)>> {
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(data) => return Err(refuse(data.enum_token.span(), &enum_text(derive))),
        Data::Union(data) => {
            let text = format!(
                "`{derive}` cannot be derived for a union: which of its fields is in use is not known; make it a struct"
            );
            return Err(refuse(data.union_token.span(), &text));
        }
    };
    Ok(fields
        .members()
        .zip(fields)
        .map(|(member, field)| (member, field.ty.clone()))
        .collect())
}

fn enum_text(derive: &str) -> String {
    match derive {
        "Codec" => "`Codec` cannot be derived for an enum: which number stands for a variant must not depend on its place in \
                    the source; implement `Codec` by hand with a number for each variant"
            .to_owned(),
        _ => format!(
            "`{derive}` cannot be derived for an enum: the sum of two different variants has no meaning; make it a struct \
             with an `Option` field for each variant, or implement `{derive}` by hand and say what their sum is"
        ),
    }
}

fn refuse(at: Span, text: &str) -> syn::Error {
    syn::Error::new(at, text)
}
