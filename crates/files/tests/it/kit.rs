//! Folders of files with generated contents, plain and compressed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use flow::laws::Parts;
use flow::{Source, Timestamp};
use proptest::prelude::*;
use store::Progress;
use tempfile::TempDir;

/// How a file's bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Packing {
    Plain,
    /// In so many members.
    Gzip(usize),
    /// In so many frames.
    Zstd(usize),
}

pub(crate) fn packing() -> impl Strategy<Value = Packing> {
    prop_oneof![
        3 => Just(Packing::Plain),
        1 => (1usize..4).prop_map(Packing::Gzip),
        1 => (1usize..4).prop_map(Packing::Zstd),
    ]
}

pub(crate) fn packed(content: &[u8], packing: Packing) -> Vec<u8> {
    let pieces = |count: usize| content.chunks(content.len().div_ceil(count).max(1));
    match packing {
        Packing::Plain => content.to_vec(),
        Packing::Gzip(members) => pieces(members)
            .flat_map(|piece| {
                let mut member = GzEncoder::new(Vec::new(), Compression::fast());
                member.write_all(piece).unwrap();
                member.finish().unwrap()
            })
            .collect(),
        Packing::Zstd(frames) => pieces(frames)
            .flat_map(|piece| zstd::encode_all(piece, 1).unwrap())
            .collect(),
    }
}

pub(crate) fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        write(&folder.path().join(name), bytes);
    }
    folder
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().write_all(bytes).unwrap();
    path.to_owned()
}

/// All that a source gives from a progress on, and the progress after it.
pub(crate) async fn rest<T: flow::Element>(
    source: &impl Source<T>,
    from: Progress,
) -> flow::Result<(Parts<T>, Progress)> {
    let (mut parts, mut at) = (Parts::new(), from);
    while let Some(slices) = source.read(&at, None, 1 << 16).await? {
        for slice in slices {
            at.advance(&slice.part, slice.next);
            parts.entry(slice.part).or_default().extend(slice.items);
        }
    }
    parts.retain(|_, items| !items.is_empty());
    Ok((parts, at))
}

/// The elements of one part without their times.
pub(crate) fn untimed<T: Clone>(items: &[(Timestamp, T)]) -> Vec<T> {
    items.iter().map(|(_, item)| item.clone()).collect()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
