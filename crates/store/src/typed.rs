//! Types over a store of bytes.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Commit, Progress, Result, Store, codec};

/// A store of `K → V` in a store of bytes, through the JSON [`codec`]. Clones are handles of the same store.
///
/// The order of the keys is that of their JSON as bytes: text in quotes is in the order of its bytes, but numbers
/// are not in their order (`10` comes before `9`).
pub struct Typed<K, V> {
    name: String,
    bytes: Arc<dyn Store<Bytes, Bytes>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Typed<K, V> {
    /// Types over `bytes`; errors call the store `name`.
    pub fn new(name: impl Into<String>, bytes: Arc<dyn Store<Bytes, Bytes>>) -> Self {
        Self {
            name: name.into(),
            bytes,
            types: PhantomData,
        }
    }
}

impl<K, V> Clone for Typed<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            bytes: self.bytes.clone(),
            types: PhantomData,
        }
    }
}

#[async_trait]
impl<K, V> Store<K, V> for Typed<K, V>
where
    K: Serialize + DeserializeOwned + Send + Sync,
    V: Serialize + DeserializeOwned + Send + Sync,
{
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| codec::encode_key(&self.name, key))
            .collect::<Result<_>>()?;
        let values = self.bytes.multi_get(&keys).await?;
        let decode = |(key, value): (&Bytes, Option<Bytes>)| {
            value
                .map(|value| codec::decode_value(&self.name, key, &value))
                .transpose()
        };
        keys.iter().zip(values).map(decode).collect()
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        let encode = |(key, value): &(K, Option<V>)| {
            let key = codec::encode_key(&self.name, key)?;
            let value = value
                .as_ref()
                .map(|value| codec::encode_value(&self.name, &key, value))
                .transpose()?;
            Ok((key, value))
        };
        let writes = commit.writes.iter().map(encode).collect::<Result<_>>()?;
        self.bytes
            .commit(Commit {
                writes,
                expected: commit.expected,
                progress: commit.progress,
            })
            .await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.bytes.progress().await
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let after = after.map(|key| codec::encode_key(&self.name, key)).transpose()?;
        let pairs = self.bytes.scan(after.as_ref(), limit).await?;
        let decode = |(key, value): (Bytes, Bytes)| {
            Ok((
                codec::decode_key(&self.name, &key)?,
                codec::decode_value(&self.name, &key, &value)?,
            ))
        };
        pairs.into_iter().map(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, MemoryStore};

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        crate::laws::check::<String, i64, _>(async || {
            Arc::new(Typed::new("laws", Arc::new(MemoryStore::new())))
        })
        .await;
        crate::laws::check::<u64, String, _>(async || {
            Arc::new(Typed::new("laws", Arc::new(MemoryStore::new())))
        })
        .await;
    }

    #[tokio::test]
    async fn foreign_bytes_are_named() {
        let bytes = MemoryStore::new();
        let writes = vec![(Bytes::from_static(b"\"ant\""), Some(Bytes::from_static(b"[]")))];
        bytes
            .commit(Commit {
                writes,
                expected: None,
                progress: Progress::default(),
            })
            .await
            .unwrap();

        let typed = Typed::<String, u64>::new("counts", Arc::new(bytes));
        let error = typed.multi_get(&["bee".into(), "ant".into()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("store=counts key=\"ant\""), "{error}");
        assert_eq!(typed.scan(None, 1).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
