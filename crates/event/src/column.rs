//! A column of JSON values under construction: rows can be taken back off its end.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray, StringViewArray, StructArray,
    new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Fields};

/// Values of one column, with a flag each for not being null.
pub(crate) enum Column {
    Bool(Vec<bool>, Vec<bool>),
    Int(Vec<i64>, Vec<bool>),
    Float(Vec<f64>, Vec<bool>),
    Text {
        bytes: Vec<u8>,
        ends: Vec<i32>,
        valid: Vec<bool>,
    },
    List {
        ends: Vec<i32>,
        valid: Vec<bool>,
        items: Box<Column>,
    },
    Struct {
        columns: Vec<Column>,
        valid: Vec<bool>,
    },
    /// A type that only Arrow batches bring: JSON rows have null there.
    Other(usize),
}

impl Column {
    /// An empty column of a stored type.
    pub(crate) fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool(Vec::new(), Vec::new()),
            DataType::Int64 => Self::Int(Vec::new(), Vec::new()),
            DataType::Float64 => Self::Float(Vec::new(), Vec::new()),
            DataType::Utf8View => Self::Text {
                bytes: Vec::new(),
                ends: Vec::new(),
                valid: Vec::new(),
            },
            DataType::List(item) => Self::List {
                ends: Vec::new(),
                valid: Vec::new(),
                items: Box::new(Self::new(item.data_type())),
            },
            DataType::Struct(fields) => Self::Struct {
                columns: fields.iter().map(|field| Self::new(field.data_type())).collect(),
                valid: Vec::new(),
            },
            _ => Self::Other(0),
        }
    }

    pub(crate) fn is_nested(&self) -> bool {
        matches!(self, Self::Struct { .. } | Self::List { .. })
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bool(_, valid) | Self::Int(_, valid) | Self::Float(_, valid) => valid.len(),
            Self::Text { valid, .. } | Self::List { valid, .. } | Self::Struct { valid, .. } => valid.len(),
            Self::Other(rows) => *rows,
        }
    }

    /// Whether the last value is null; a column that JSON cannot fill has nothing else.
    pub(crate) fn is_last_null(&self) -> bool {
        match self {
            Self::Bool(_, valid) | Self::Int(_, valid) | Self::Float(_, valid) => valid.last() != Some(&true),
            Self::Text { valid, .. } | Self::List { valid, .. } | Self::Struct { valid, .. } => {
                valid.last() != Some(&true)
            }
            Self::Other(_) => true,
        }
    }

    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Bool(values, valid) => {
                values.push(false);
                valid.push(false);
            }
            Self::Int(values, valid) => {
                values.push(0);
                valid.push(false);
            }
            Self::Float(values, valid) => {
                values.push(0.0);
                valid.push(false);
            }
            Self::Text { bytes, ends, valid } => {
                ends.push(bytes.len() as i32);
                valid.push(false);
            }
            Self::List { ends, valid, items } => {
                ends.push(items.len() as i32);
                valid.push(false);
            }
            Self::Struct { columns, valid } => {
                columns.iter_mut().for_each(Self::push_null);
                valid.push(false);
            }
            Self::Other(rows) => *rows += 1,
        }
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Bool(values, valid) => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Int(values, valid) => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Float(values, valid) => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Text { bytes, ends, valid } => {
                ends.truncate(rows);
                valid.truncate(rows);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Self::List { ends, valid, items } => {
                ends.truncate(rows);
                valid.truncate(rows);
                items.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Self::Struct { columns, valid } => {
                columns.iter_mut().for_each(|column| column.truncate(rows));
                valid.truncate(rows);
            }
            Self::Other(len) => *len = rows.min(*len),
        }
    }

    pub(crate) fn finish(self, data_type: &DataType) -> ArrayRef {
        match (self, data_type) {
            (Self::Bool(values, valid), _) => Arc::new(BooleanArray::new(values.into(), nulls(valid))),
            (Self::Int(values, valid), _) => Arc::new(Int64Array::new(values.into(), nulls(valid))),
            (Self::Float(values, valid), _) => Arc::new(Float64Array::new(values.into(), nulls(valid))),
            (Self::Text { bytes, ends, valid }, _) => text(bytes, ends, valid),
            (Self::List { ends, valid, items }, DataType::List(item)) => {
                let items = items.finish(item.data_type());
                Arc::new(ListArray::new(item.clone(), offsets(ends), items, nulls(valid)))
            }
            (Self::Struct { columns, valid }, DataType::Struct(fields)) => Arc::new(StructArray::new(
                fields.clone(),
                finish_all(columns, fields),
                nulls(valid),
            )),
            (column, data_type) => new_null_array(data_type, column.len()),
        }
    }
}

fn finish_all(columns: Vec<Column>, fields: &Fields) -> Vec<ArrayRef> {
    columns
        .into_iter()
        .zip(fields)
        .map(|(column, field)| column.finish(field.data_type()))
        .collect()
}

fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    valid.contains(&false).then(|| NullBuffer::from(valid))
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    let offsets: Vec<i32> = std::iter::once(0).chain(ends).collect();
    OffsetBuffer::new(offsets.into())
}

fn text(bytes: Vec<u8>, ends: Vec<i32>, valid: Vec<bool>) -> ArrayRef {
    let text = StringArray::new(offsets(ends), Buffer::from_vec(bytes), nulls(valid));
    Arc::new(StringViewArray::from(&text))
}
