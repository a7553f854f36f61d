//! What a declared schema asks of values beyond the types of their columns; of rows of any make.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Float64Type, Int64Type};

use crate::{FieldSettings, FieldType, UnknownFields};

/// What is asked of one of several columns, if anything is.
#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    /// The column's place among its siblings.
    column: usize,
    name: String,
    presence: Presence,
    values: Option<Asked>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Optional,
    Required,
    /// The table has the column, and the schema that rejects others has it not.
    Undeclared,
}

/// What is asked of values that are not null.
#[derive(Clone, Debug)]
enum Asked {
    Int {
        type_name: FieldType,
        min: i64,
        max: i64,
    },
    Float32,
    Decimal {
        precision: u8,
        unscaled_max: i128,
    },
    Items(Box<Asked>),
    Fields(Vec<Constraint>),
}

/// Values of a column, of arrays or under construction.
pub(crate) trait Values: Sized {
    fn is_null(&self, at: usize) -> bool;
    fn int(&self, at: usize) -> i64;
    fn float(&self, at: usize) -> f64;
    fn decimal(&self, at: usize) -> i128;
    /// The columns of a struct.
    fn fields(&self) -> &[Self];
    /// The items of a list, and which of them are of the list at `at`.
    fn items(&self, at: usize) -> (&Self, Range<usize>);
}

/// What declared fields ask of a table's columns.
pub(crate) fn constraints(
    columns: &[FieldRef],
    declared: &[FieldSettings],
    unknown: UnknownFields,
) -> Vec<Constraint> {
    let of = |(at, column): (usize, &FieldRef)| {
        let field = declared.iter().find(|field| field.name == *column.name());
        let (presence, values) = match field {
            None if unknown == UnknownFields::Reject => (Presence::Undeclared, None),
            None => return None,
            Some(field) => {
                let presence = if field.required {
                    Presence::Required
                } else {
                    Presence::Optional
                };
                let values = asked(column.data_type(), &field.data_type, &field.fields, unknown);
                (presence, values)
            }
        };
        (presence != Presence::Optional || values.is_some()).then(|| Constraint {
            column: at,
            name: column.name().clone(),
            presence,
            values,
        })
    };
    columns.iter().enumerate().filter_map(of).collect()
}

fn asked(
    column: &DataType,
    declared: &FieldType,
    fields: &[FieldSettings],
    unknown: UnknownFields,
) -> Option<Asked> {
    let int = |min, max| {
        Some(Asked::Int {
            type_name: declared.clone(),
            min,
            max,
        })
    };
    match (declared, column) {
        (FieldType::Int8, _) => int(i8::MIN.into(), i8::MAX.into()),
        (FieldType::Int16, _) => int(i16::MIN.into(), i16::MAX.into()),
        (FieldType::Int32, _) => int(i32::MIN.into(), i32::MAX.into()),
        (FieldType::Float32, _) => Some(Asked::Float32),
        (FieldType::Decimal { precision, .. }, DataType::Decimal128(digits, _)) if precision < digits => {
            Some(Asked::Decimal {
                precision: *precision,
                unscaled_max: 10_i128.pow(u32::from(*precision)) - 1,
            })
        }
        (FieldType::List(of), DataType::List(item)) => {
            let items = asked(item.data_type(), of, fields, unknown)?;
            Some(Asked::Items(Box::new(items)))
        }
        (FieldType::Struct, DataType::Struct(columns)) => {
            let inner = constraints(columns, fields, unknown);
            (!inner.is_empty()).then_some(Asked::Fields(inner))
        }
        _ => None,
    }
}

/// What columns ask for that may not be null: the schema of a client.
pub(crate) fn not_null(columns: &[FieldRef]) -> Vec<Constraint> {
    fn asked(column: &DataType) -> Option<Asked> {
        match column {
            DataType::List(item) => Some(Asked::Items(Box::new(asked(item.data_type())?))),
            DataType::Struct(columns) => {
                let inner = not_null(columns);
                (!inner.is_empty()).then_some(Asked::Fields(inner))
            }
            _ => None,
        }
    }
    let of = |(at, column): (usize, &FieldRef)| {
        let presence = if column.is_nullable() {
            Presence::Optional
        } else {
            Presence::Required
        };
        let values = asked(column.data_type());
        (presence != Presence::Optional || values.is_some()).then(|| Constraint {
            column: at,
            name: column.name().clone(),
            presence,
            values,
        })
    };
    columns.iter().enumerate().filter_map(of).collect()
}

/// Whether the row at `at` is what is asked for; else `field a.b: why`.
pub(crate) fn check_row<V: Values>(columns: &[V], asked: &[Constraint], at: usize) -> Result<(), String> {
    check_fields(columns, asked, at).map_err(|broken| {
        let path: Vec<&str> = broken.path.into_iter().rev().collect();
        format!("field {}: {}", path.join("."), broken.why)
    })
}

struct Broken<'a> {
    /// From the field outwards.
    path: Vec<&'a str>,
    why: String,
}

fn check_fields<'a, V: Values>(columns: &[V], asked: &'a [Constraint], at: usize) -> Result<(), Broken<'a>> {
    for constraint in asked {
        let column = &columns[constraint.column];
        let broken = |why: &str| {
            Err(Broken {
                path: vec![&constraint.name],
                why: why.to_owned(),
            })
        };
        match (column.is_null(at), constraint.presence) {
            (true, Presence::Required) => return broken("must be there and not null"),
            (true, _) => {}
            (false, Presence::Undeclared) => return broken("not in the schema, add it or leave it out"),
            (false, _) => {
                if let Some(values) = &constraint.values {
                    check_value(column, values, at).map_err(|mut broken| {
                        broken.path.push(&constraint.name);
                        broken
                    })?;
                }
            }
        }
    }
    Ok(())
}

fn check_value<'a, V: Values>(column: &V, asked: &'a Asked, at: usize) -> Result<(), Broken<'a>> {
    let broken = |why: String| {
        Err(Broken {
            path: Vec::new(),
            why,
        })
    };
    match asked {
        Asked::Int { type_name, min, max } => {
            let value = column.int(at);
            if (*min..=*max).contains(&value) {
                return Ok(());
            }
            broken(format!("beyond {type_name}, {min} to {max} value={value}"))
        }
        Asked::Float32 => {
            let value = column.float(at);
            if !value.is_finite() || value.abs() <= f64::from(f32::MAX) {
                return Ok(());
            }
            broken(format!("beyond float32 value={value}"))
        }
        Asked::Decimal {
            precision,
            unscaled_max,
        } => {
            if column.decimal(at).unsigned_abs() <= unscaled_max.unsigned_abs() {
                return Ok(());
            }
            broken(format!("has more than {precision} digits"))
        }
        Asked::Items(asked) => {
            let (items, mut range) = column.items(at);
            range.try_for_each(|item| {
                if items.is_null(item) {
                    return Ok(());
                }
                check_value(items, asked, item)
            })
        }
        Asked::Fields(asked) => check_fields(column.fields(), asked, at),
    }
}

impl Values for ArrayRef {
    fn is_null(&self, at: usize) -> bool {
        Array::is_null(self, at)
    }

    fn int(&self, at: usize) -> i64 {
        self.as_primitive::<Int64Type>().value(at)
    }

    fn float(&self, at: usize) -> f64 {
        self.as_primitive::<Float64Type>().value(at)
    }

    fn decimal(&self, at: usize) -> i128 {
        self.as_primitive::<Decimal128Type>().value(at)
    }

    fn fields(&self) -> &[Self] {
        self.as_struct().columns()
    }

    fn items(&self, at: usize) -> (&Self, Range<usize>) {
        let list = self.as_list::<i32>();
        let offsets = list.value_offsets();
        (list.values(), offsets[at] as usize..offsets[at + 1] as usize)
    }
}
