//! How much memory the rows of columns take, without those of the buffers that they share with other rows.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};

/// Bytes of the values of these rows; a text that several rows share counts for each.
pub(super) fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(bytes_of_column).sum()
}

fn bytes_of_column(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8View => bytes_of_views::<StringViewType>(column),
        DataType::BinaryView => bytes_of_views::<BinaryViewType>(column),
        DataType::Struct(_) => column.as_struct().columns().iter().map(bytes_of_column).sum(),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let (first, last) = (
                list.value_offsets()[0] as usize,
                list.value_offsets()[list.len()] as usize,
            );
            size_of_val(list.value_offsets()) + bytes_of_column(&list.values().slice(first, last - first))
        }
        _ => column.to_data().get_slice_memory_size().unwrap_or(0),
    }
}

/// A view is 16 bytes, of which the lowest four are the length.
fn bytes_of_views<T: ByteViewType>(column: &ArrayRef) -> usize {
    let views = column.as_byte_view::<T>().views();
    views
        .iter()
        .map(|view| size_of_val(view) + (*view as u32) as usize)
        .sum()
}
