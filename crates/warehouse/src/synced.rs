//! A local folder as an object store whose puts are on the disk (file and folder) when they return.
//!
//! `object_store`'s own local store never calls fsync, so a power cut could leave a commit without its files, or
//! half a commit. Here a file is written under a hidden name, synced, given its name, and the folder is synced.
//! Listings are sorted, as those of object stores are.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct SyncedFolder {
    inner: LocalFileSystem,
}

impl SyncedFolder {
    /// The folder `root`, made when missing.
    pub(crate) fn open(root: &FsPath) -> Result<Self> {
        make_folder(root).map_err(|error| failed(root, error))?;
        Ok(Self {
            inner: LocalFileSystem::new_with_prefix(root)?,
        })
    }
}

impl fmt::Display for SyncedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncedFolder({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for SyncedFolder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        put_blocking(self.inner.path_to_filesystem(location)?, payload, opts.mode).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let begun = blocking(move || Upload::begin(path.clone()).map_err(|error| failed(&path, error)));
        Ok(Box::new(begun.await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

fn sorted(listed: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let sorted = listed.try_collect().map_ok(|mut listed: Vec<ObjectMeta>| {
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        stream::iter(listed.into_iter().map(Ok))
    });
    sorted.try_flatten_stream().boxed()
}

/// Writes the parts, as they come, under a hidden name; at the end the file is synced and has its name.
#[derive(Debug)]
struct Upload {
    path: PathBuf,
    hidden: PathBuf,
    file: Arc<File>,
    /// Where the next part begins.
    offset: u64,
}

impl Upload {
    fn begin(path: PathBuf) -> io::Result<Self> {
        make_folder(path.parent().unwrap_or(FsPath::new("/")))?;
        let hidden = hidden_name(&path);
        let file = Arc::new(File::create_new(&hidden)?);
        Ok(Self {
            path,
            hidden,
            file,
            offset: 0,
        })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, path, mut offset) = (self.file.clone(), self.path.clone(), self.offset);
        self.offset += data.content_length() as u64;
        let mut write = move || {
            for piece in &data {
                file.write_all_at(piece, offset)?;
                offset += piece.len() as u64;
            }
            Ok(())
        };
        blocking(move || write().map_err(|error| failed(&path, error))).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, hidden, path) = (self.file.clone(), self.hidden.clone(), self.path.clone());
        let place = move || {
            file.sync_all()?;
            fs::rename(&hidden, &path)?;
            File::open(path.parent().unwrap_or(FsPath::new("/")))?.sync_all()
        };
        let path = self.path.clone();
        blocking(move || place().map_err(|error| failed(&path, error))).await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn abort(&mut self) -> Result<()> {
        let (hidden, path) = (self.hidden.clone(), self.path.clone());
        blocking(move || fs::remove_file(hidden).map_err(|error| failed(&path, error))).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Gone already if it was completed or aborted.
        let _ = fs::remove_file(&self.hidden);
    }
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => result,
        Err(source) => Err(Error::JoinError { source }),
    }
}

async fn put_blocking(path: PathBuf, payload: PutPayload, mode: PutMode) -> Result<PutResult> {
    blocking(move || put(&path, &payload, &mode).map_err(|error| failed(&path, error))).await?;
    Ok(PutResult {
        e_tag: None,
        version: None,
    })
}

/// A new name beside a file: names that end in `#` and digits are hidden by the local store's listings.
fn hidden_name(path: &FsPath) -> PathBuf {
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!("#{}", uuid::Uuid::now_v7().as_u128()));
    PathBuf::from(hidden)
}

fn put(path: &FsPath, payload: &PutPayload, mode: &PutMode) -> io::Result<()> {
    let folder = path.parent().unwrap_or(FsPath::new("/"));
    make_folder(folder)?;
    let hidden = hidden_name(path);
    let placed = write_synced(&hidden, payload).and_then(|()| match mode {
        // A link fails where the name is taken, a rename would replace it.
        PutMode::Create => fs::hard_link(&hidden, path).and_then(|()| fs::remove_file(&hidden)),
        _ => fs::rename(&hidden, path),
    });
    if let Err(error) = placed {
        // The first error counts; a hidden file that stays does no harm.
        let _ = fs::remove_file(&hidden);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write_synced(path: &FsPath, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    for piece in payload {
        file.write_all(piece)?;
    }
    file.sync_all()
}

/// Makes a folder and those above it, and syncs the folders that name them.
fn make_folder(folder: &FsPath) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(FsPath::new("/"));
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ if above.as_os_str().is_empty() => Ok(()),
        _ => File::open(above)?.sync_all(),
    }
}

fn failed(path: &FsPath, error: io::Error) -> Error {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: error.into(),
        },
        io::ErrorKind::NotFound => Error::NotFound {
            path,
            source: error.into(),
        },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied {
            path,
            source: error.into(),
        },
        _ => Error::Generic {
            store: "SyncedFolder",
            source: error.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn puts_create_overwrite_and_multipart() {
        let folder = tempfile::tempdir().unwrap();
        let store = SyncedFolder::open(&folder.path().join("a/b")).unwrap();
        let path = Path::from("x/_hour=2015-09-12-00/f.parquet");
        let create = || PutOptions {
            mode: PutMode::Create,
            ..Default::default()
        };
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), create()).await.unwrap_err();
        assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");

        let mut upload = store.put_multipart(&Path::from("y")).await.unwrap();
        upload.put_part("12".into()).await.unwrap();
        upload.put_part("34".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(
            store.get(&Path::from("y")).await.unwrap().bytes().await.unwrap(),
            "1234"
        );
        // Parts may be written in any order; what is given up leaves nothing.
        let mut upload = store.put_multipart(&Path::from("z")).await.unwrap();
        let (first, second) = (upload.put_part("12".into()), upload.put_part("345".into()));
        second.await.unwrap();
        first.await.unwrap();
        assert!(store.get(&Path::from("z")).await.is_err());
        upload.complete().await.unwrap();
        assert_eq!(
            store.get(&Path::from("z")).await.unwrap().bytes().await.unwrap(),
            "12345"
        );
        let mut upload = store.put_multipart(&Path::from("w")).await.unwrap();
        upload.put_part("1".into()).await.unwrap();
        upload.abort().await.unwrap();
        drop(store.put_multipart(&Path::from("w")).await.unwrap());
        let names: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
        assert_eq!(names.len(), 3, "{names:?}");
        let files = fs::read_dir(folder.path().join("a/b")).unwrap();
        assert_eq!(files.count(), 3, "no hidden file is left");
    }
}
