//! A column under construction: rows can be taken back off its end.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int64Array, ListArray, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Fields, TimeUnit};

use crate::constraint::Values;

/// Values of one column, with a flag each for not being null.
pub(crate) enum Column {
    Bool(Vec<bool>, Vec<bool>),
    Int(Vec<i64>, Vec<bool>),
    Float(Vec<f64>, Vec<bool>),
    /// Microseconds since 1970, UTC.
    Time(Vec<i64>, Vec<bool>),
    /// Days since 1970.
    Date(Vec<i32>, Vec<bool>),
    Decimal {
        unscaled: Vec<i128>,
        valid: Vec<bool>,
        precision: u8,
        scale: u8,
    },
    Text {
        bytes: Vec<u8>,
        ends: Vec<i32>,
        valid: Vec<bool>,
    },
    Bytes {
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
    /// A type that is not written row by row: other tables' columns alone have one.
    Other(usize),
}

impl Column {
    /// An empty column of a stored type.
    pub(crate) fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool(Vec::new(), Vec::new()),
            DataType::Int64 => Self::Int(Vec::new(), Vec::new()),
            DataType::Float64 => Self::Float(Vec::new(), Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => {
                Self::Time(Vec::new(), Vec::new())
            }
            DataType::Date32 => Self::Date(Vec::new(), Vec::new()),
            DataType::Decimal128(precision, scale) if *scale >= 0 => Self::Decimal {
                unscaled: Vec::new(),
                valid: Vec::new(),
                precision: *precision,
                scale: scale.unsigned_abs(),
            },
            DataType::Utf8View => Self::Text {
                bytes: Vec::new(),
                ends: Vec::new(),
                valid: Vec::new(),
            },
            DataType::BinaryView => Self::Bytes {
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

    /// A flag for each value that is not null; `None` for a column that has nothing else.
    fn valid(&self) -> Option<&Vec<bool>> {
        match self {
            Self::Bool(_, valid)
            | Self::Int(_, valid)
            | Self::Float(_, valid)
            | Self::Time(_, valid)
            | Self::Date(_, valid) => Some(valid),
            Self::Decimal { valid, .. } | Self::Text { valid, .. } | Self::Bytes { valid, .. } => Some(valid),
            Self::List { valid, .. } | Self::Struct { valid, .. } => Some(valid),
            Self::Other(_) => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Other(rows) => *rows,
            column => column.valid().map_or(0, Vec::len),
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
            Self::Time(values, valid) => {
                values.push(0);
                valid.push(false);
            }
            Self::Date(values, valid) => {
                values.push(0);
                valid.push(false);
            }
            Self::Decimal { unscaled, valid, .. } => {
                unscaled.push(0);
                valid.push(false);
            }
            Self::Text { bytes, ends, valid } | Self::Bytes { bytes, ends, valid } => {
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
            Self::Time(values, valid) => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Date(values, valid) => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Decimal { unscaled, valid, .. } => {
                unscaled.truncate(rows);
                valid.truncate(rows);
            }
            Self::Text { bytes, ends, valid } | Self::Bytes { bytes, ends, valid } => {
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
            (Self::Time(values, valid), _) => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls(valid)).with_timezone("UTC"))
            }
            (Self::Date(values, valid), _) => Arc::new(Date32Array::new(values.into(), nulls(valid))),
            (Self::Decimal { unscaled, valid, .. }, _) => Arc::new(
                Decimal128Array::new(unscaled.into(), nulls(valid)).with_data_type(data_type.clone()),
            ),
            (Self::Text { bytes, ends, valid }, _) => text(bytes, ends, valid),
            (Self::Bytes { bytes, ends, valid }, _) => {
                let bytes = BinaryArray::new(offsets(ends), Buffer::from_vec(bytes), nulls(valid));
                Arc::new(BinaryViewArray::from(&bytes))
            }
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

impl Values for Column {
    fn is_null(&self, at: usize) -> bool {
        self.valid().is_none_or(|valid| !valid[at])
    }

    fn int(&self, at: usize) -> i64 {
        match self {
            Self::Int(values, _) => values[at],
            _ => 0,
        }
    }

    fn float(&self, at: usize) -> f64 {
        match self {
            Self::Float(values, _) => values[at],
            _ => 0.0,
        }
    }

    fn decimal(&self, at: usize) -> i128 {
        match self {
            Self::Decimal { unscaled, .. } => unscaled[at],
            _ => 0,
        }
    }

    fn fields(&self) -> &[Self] {
        match self {
            Self::Struct { columns, .. } => columns,
            _ => &[],
        }
    }

    fn items(&self, at: usize) -> (&Self, Range<usize>) {
        match self {
            Self::List { ends, items, .. } => {
                let start = at.checked_sub(1).map_or(0, |before| ends[before] as usize);
                (items, start..ends[at] as usize)
            }
            _ => (self, 0..0),
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
