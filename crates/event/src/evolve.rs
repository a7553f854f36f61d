//! From one declared schema of a dataset to the next: what may change.

use std::fmt;

use crate::{FieldSettings, SchemaSettings, UnknownFields};

/// What is new in a declaration. Fields are paths of names with dots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Fields that the old declaration has not.
    pub added: Vec<String>,
    /// Fields that take more values than they did.
    pub widened: Vec<String>,
    /// Fields that need not be there any more.
    pub relaxed: Vec<String>,
    /// Fields that are explained differently.
    pub described: Vec<String>,
    /// Whether other fields are treated differently.
    pub unknown_fields: bool,
}

impl Change {
    /// Whether events or columns are the same as before.
    pub fn is_none(&self) -> bool {
        self.added.is_empty() && self.widened.is_empty() && self.relaxed.is_empty() && !self.unknown_fields
    }
}

/// A declaration that may not follow the one before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {rule}")]
pub struct Incompatible {
    /// The path of the field; a setting of the schema is named by its key.
    pub field: String,
    /// What it broke.
    pub rule: Rule,
}

/// What a new declaration must keep. The text says the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A field stays: rows have it. A renamed field is one that is removed and one that is new.
    Removed,
    /// A field keeps its type, or gets a wider one of the same family.
    Type {
        /// As it was.
        old: String,
        /// As it would be.
        new: String,
    },
    /// A field that need not be there is not required later: events that are under way do not have it.
    Required,
    /// A new field is not required, for the same reason.
    AddedRequired,
    /// Unknown fields that were taken are not rejected later.
    UnknownFields,
    /// A schema that is changed has a higher version, and the same version is the same schema.
    Version {
        /// As it was.
        old: u32,
        /// As it would be.
        new: u32,
    },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str(
                "a field is not removed or renamed, leave it (events need not have it) and add another, or begin a new dataset",
            ),
            Self::Type { old, new } => write!(
                f,
                "a field's type only gets wider (int8 < int16 < int32 < int64, float32 < float64, more digits of a decimal), add a field or begin a new dataset old={old} new={new}"
            ),
            Self::Required => f.write_str(
                "a field that need not be there cannot be required later, add a field or begin a new dataset",
            ),
            Self::AddedRequired => {
                f.write_str("a new field cannot be required, leave that out or begin a new dataset")
            }
            Self::UnknownFields => f.write_str(
                "fields that were taken cannot be rejected later, declare them or begin a new dataset",
            ),
            Self::Version { old, new } => write!(
                f,
                "a changed schema has a higher version, and versions do not go back old={old} new={new}"
            ),
        }
    }
}

/// What is new in `new`, if it may follow `old` as the declared schema of one dataset.
///
/// * **may change**: a field is added that is not required; a number gets wider within its family (`int8` < `int16` <
///   `int32` < `int64`; `float32` < `float64`; `decimal(p,s)` gets a larger p); a required field need not be there any
///   more; the order of fields (columns keep theirs); what a field means; `reject` becomes `extra` or `add`, and these
///   become one another. Within structs and lists the same holds. Docs may change without a new version, the rest not.
/// * **may not**: all else, above all a field that is removed, renamed, narrowed or required later.
///
/// Rows that were written under `old` read under `new`, and no file is written again: numbers are stored as the widest
/// of their family. An event that is good under `old` is good under `new`, unless it has a field that `old` did not
/// declare and `new` does with another type than the event's. An `evolve` of a schema to itself is no change; two that
/// are allowed one after the other are allowed at once.
///
/// # Errors
/// [`Incompatible`], for the first field that breaks a rule.
pub fn evolve(old: &SchemaSettings, new: &SchemaSettings) -> Result<Change, Incompatible> {
    let mut change = Change::default();
    fields(&old.fields, &new.fields, "", &mut change)?;
    change.unknown_fields = old.unknown_fields != new.unknown_fields;
    if change.unknown_fields && new.unknown_fields == UnknownFields::Reject {
        return Err(Incompatible {
            field: "unknown_fields".to_owned(),
            rule: Rule::UnknownFields,
        });
    }
    let is_counted = if change.is_none() {
        new.version >= old.version
    } else {
        new.version > old.version
    };
    if !is_counted {
        return Err(Incompatible {
            field: "version".to_owned(),
            rule: Rule::Version {
                old: old.version,
                new: new.version,
            },
        });
    }
    Ok(change)
}

fn fields(
    old: &[FieldSettings],
    new: &[FieldSettings],
    parents: &str,
    change: &mut Change,
) -> Result<(), Incompatible> {
    for field in old {
        let path = format!("{parents}{}", field.name);
        let broken = |rule| {
            Err(Incompatible {
                field: path.clone(),
                rule,
            })
        };
        let Some(now) = new.iter().find(|now| now.name == field.name) else {
            return broken(Rule::Removed);
        };
        if !field.data_type.widens_to(&now.data_type) {
            return broken(Rule::Type {
                old: field.data_type.to_string(),
                new: now.data_type.to_string(),
            });
        }
        if now.required && !field.required {
            return broken(Rule::Required);
        }
        fields(&field.fields, &now.fields, &format!("{path}."), change)?;
        if field.data_type != now.data_type {
            change.widened.push(path.clone());
        }
        if field.required && !now.required {
            change.relaxed.push(path.clone());
        }
        if field.doc != now.doc {
            change.described.push(path);
        }
    }
    for field in new {
        if old.iter().any(|before| before.name == field.name) {
            continue;
        }
        let path = format!("{parents}{}", field.name);
        if field.required {
            return Err(Incompatible {
                field: path,
                rule: Rule::AddedRequired,
            });
        }
        change.added.push(path);
    }
    Ok(())
}
