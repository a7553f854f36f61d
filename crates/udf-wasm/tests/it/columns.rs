//! Rows of all types that are stored, generated.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    ListArray, RecordBatch, StringViewArray, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Fields};
use event::ROW_COLUMN;
use proptest::prelude::*;

/// A column of a type that is stored.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    Boolean,
    Whole,
    Number,
    Decimal,
    Date,
    Time,
    Text,
    Bytes,
    List(Box<Column>),
    Struct(Vec<Column>),
}

pub(crate) fn columns() -> impl Strategy<Value = Vec<Column>> {
    use Column::*;
    let leaf = prop_oneof![
        Just(Boolean),
        Just(Whole),
        Just(Number),
        Just(Decimal),
        Just(Date),
        Just(Time),
        Just(Text),
        Just(Bytes)
    ];
    let column = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|item| List(Box::new(item))),
            prop::collection::vec(inner, 1..4).prop_map(Struct),
        ]
    });
    prop::collection::vec(column, 0..6)
}

/// Draws from a seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Every fifth is null.
    fn values<T>(&mut self, rows: usize, value: impl Fn(u64) -> T) -> Vec<Option<T>> {
        (0..rows)
            .map(|_| match self.next() {
                draw if draw.is_multiple_of(5) => None,
                draw => Some(value(draw)),
            })
            .collect()
    }

    fn text(draw: u64) -> String {
        "a text, at times longer than a view: ü€😀 …"
            .chars()
            .take((draw % 44) as usize)
            .collect()
    }

    fn array(&mut self, column: &Column, rows: usize) -> ArrayRef {
        match column {
            Column::Boolean => Arc::new(BooleanArray::from(
                self.values(rows, |draw| draw.is_multiple_of(2)),
            )),
            Column::Whole => Arc::new(Int64Array::from(
                self.values(rows, |draw| draw as i64 - (1 << 30)),
            )),
            Column::Number => Arc::new(Float64Array::from(self.values(rows, |draw| draw as f64 / 7.0))),
            Column::Decimal => {
                let values = Decimal128Array::from(self.values(rows, |draw| draw as i128));
                Arc::new(values.with_precision_and_scale(20, 3).unwrap())
            }
            Column::Date => Arc::new(Date32Array::from(self.values(rows, |draw| draw as i32 % 40_000))),
            Column::Time => {
                let values = TimestampMicrosecondArray::from(self.values(rows, |draw| draw as i64));
                Arc::new(values.with_timezone("UTC"))
            }
            Column::Text => Arc::new(StringViewArray::from_iter(self.values(rows, Self::text))),
            Column::Bytes => {
                let values = self.values(rows, |draw| vec![draw as u8; (draw % 30) as usize]);
                Arc::new(BinaryViewArray::from_iter(values))
            }
            Column::List(item) => {
                let lengths: Vec<usize> = (0..rows).map(|_| (self.next() % 4) as usize).collect();
                let nulls: NullBuffer = (0..rows).map(|_| !self.next().is_multiple_of(5)).collect();
                let items = self.array(item, lengths.iter().sum());
                let field = Field::new("element", items.data_type().clone(), true);
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::new(Arc::new(field), offsets, items, Some(nulls)))
            }
            Column::Struct(columns) => {
                let nulls: NullBuffer = (0..rows).map(|_| !self.next().is_multiple_of(5)).collect();
                let arrays: Vec<ArrayRef> = columns.iter().map(|column| self.array(column, rows)).collect();
                let fields: Fields = arrays
                    .iter()
                    .enumerate()
                    .map(|(i, array)| Field::new(format!("f{i}"), array.data_type().clone(), true))
                    .collect();
                Arc::new(StructArray::new(fields, arrays, Some(nulls)))
            }
        }
    }
}

/// Rows of these columns and their places, cut out of more.
pub(crate) fn rows(columns: &[Column], seed: u64, rows: usize) -> RecordBatch {
    let mut draw = Draw(seed);
    let arrays = columns
        .iter()
        .enumerate()
        .map(|(i, column)| (format!("c{i}"), draw.array(column, rows + 5).slice(3, rows), true));
    let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows as u32));
    let arrays = arrays.chain([(ROW_COLUMN.to_owned(), places, false)]);
    RecordBatch::try_from_iter_with_nullable(arrays).unwrap()
}
