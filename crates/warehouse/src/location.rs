//! Where a warehouse is: a folder of this machine, or a bucket's prefix in an object store.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::limits::{
    REMOTE_CONNECT_TIME_MAX, REMOTE_REQUEST_TIME_MAX, REMOTE_RETRIES_MAX, REMOTE_RETRY_TIME_MAX,
};
use crate::remote::Remote;
use crate::synced::SyncedFolder;
use crate::{Error, ErrorKind, Result};

/// A folder, or `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` with options by key.
///
/// Options are those of the crate `object_store`, among them `endpoint`, `region`, `allow_http`, `access_key_id`,
/// `secret_access_key` (S3), `service_account` (a path; Google), `account_name`, `access_key` (Azure). With `_file` behind
/// its key an option's value is read from that file. Neither `Debug`, `Display` nor an error tells a value.
///
/// A commit is a put that fails where the name is taken. All three have that; a server that speaks S3 must honour
/// `If-None-Match: *`, or two writers are not told of each other.
///
/// ```
/// use warehouse::Location;
///
/// let place = Location::parse("s3://events/warehouse")?
///     .with("endpoint", "http://127.0.0.1:9000")?
///     .with("allow_http", "true")?
///     .with_variables([("AWS_SECRET_ACCESS_KEY".to_owned(), "xyz".to_owned())]);
/// assert_eq!(place.to_string(), "s3://events/warehouse");
/// # Ok::<(), warehouse::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Location(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

#[derive(Clone, PartialEq, Eq)]
struct Bucket {
    service: Service,
    name: String,
    prefix: Path,
    /// From the environment; options win over them.
    variables: Vec<(String, String)>,
    options: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    S3,
    Google,
    Azure,
}

impl Location {
    /// Text with `://` is an URL, any other a folder.
    ///
    /// Errors: `Invalid` if the URL is of another kind, has no bucket, or has more than a bucket and a prefix.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::from(FsPath::new(text)));
        };
        let service = match scheme {
            "s3" => Service::S3,
            "gs" => Service::Google,
            "az" => Service::Azure,
            _ => {
                return Err(invalid(
                    "no such kind of location: give a folder, s3://bucket/prefix, gs://… or az://…",
                    &format!("scheme={scheme:?}"),
                ));
            }
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() || rest.contains(['@', '?', '#']) {
            // The text is not repeated: it may hold a credential.
            return Err(invalid(
                "an URL of a location is a bucket and a prefix: give credentials and endpoint as options",
                &format!("scheme={scheme}"),
            ));
        }
        let prefix = Path::parse(prefix).map_err(|error| {
            invalid("a location's prefix is not a path", &format!("prefix={prefix:?}")).with_source(error)
        })?;
        Ok(Self(Place::Bucket(Bucket {
            service,
            name: name.to_owned(),
            prefix,
            variables: Vec::new(),
            options: Vec::new(),
        })))
    }

    /// With an option.
    ///
    /// Errors: `Invalid` if the service has no such option, or the location is a folder.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Result<Self> {
        let Place::Bucket(bucket) = &mut self.0 else {
            return Err(invalid("a folder has no options", &format!("option={key:?}")));
        };
        let key = key.to_ascii_lowercase();
        if !bucket
            .service
            .knows(file_option(bucket.service, &key).unwrap_or(&key))
        {
            return Err(invalid(
                "no such option of a location; common ones are endpoint, region, allow_http and credentials",
                &format!("option={key:?} location={bucket}"),
            ));
        }
        bucket.options.push((key, value.into()));
        Ok(self)
    }

    /// With what the variables of an environment say of the service: those that begin with `AWS_`, `GOOGLE_` or
    /// `AZURE_` and name an option. Options win over variables.
    pub fn with_variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        if let Place::Bucket(bucket) = &mut self.0 {
            let service = bucket.service;
            let ours = |(name, value): (String, String)| {
                let known =
                    name.starts_with(service.variables()) && service.knows(&name.to_ascii_lowercase());
                known.then(|| (name.to_ascii_lowercase(), value))
            };
            bucket.variables.extend(variables.into_iter().filter_map(ours));
        }
        self
    }

    /// The store of this place; paths in it are below the folder or the prefix. Asks nobody yet.
    ///
    /// Errors: `Invalid` if options do not go together or a file of one cannot be read; `Retry` if the folder cannot be
    /// made.
    pub fn open(&self) -> Result<Arc<dyn ObjectStore>> {
        match &self.0 {
            Place::Folder(folder) => {
                let store = SyncedFolder::open(folder).map_err(|error| {
                    let message =
                        format_args!("cannot open the warehouse: {error} root={}", folder.display());
                    Error::new(ErrorKind::Retry, message).with_source(error)
                })?;
                Ok(Arc::new(store))
            }
            Place::Bucket(bucket) => Ok(Arc::new(Remote::new(
                bucket.store()?,
                bucket.prefix.clone(),
                bucket.to_string(),
            ))),
        }
    }
}

impl<P: AsRef<FsPath> + ?Sized> From<&P> for Location {
    fn from(folder: &P) -> Self {
        Self(Place::Folder(folder.as_ref().to_owned()))
    }
}

impl From<PathBuf> for Location {
    fn from(folder: PathBuf) -> Self {
        Self(Place::Folder(folder))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Folder(folder) => folder.display().fmt(f),
            Place::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.service.scheme();
        write!(f, "{scheme}://{}", self.name)?;
        match self.prefix.as_ref() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

impl Service {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS_",
            Self::Google => "GOOGLE_",
            Self::Azure => "AZURE_",
        }
    }

    fn knows(self, key: &str) -> bool {
        match self {
            Self::S3 => key.parse::<AmazonS3ConfigKey>().is_ok(),
            Self::Google => key.parse::<GoogleConfigKey>().is_ok() || key == "endpoint",
            Self::Azure => key.parse::<AzureConfigKey>().is_ok(),
        }
    }
}

/// The option whose value is in a file, if the key means that.
fn file_option(service: Service, key: &str) -> Option<&str> {
    if service.knows(key) {
        None
    } else {
        key.strip_suffix("_file")
    }
}

impl Bucket {
    fn store(&self) -> Result<Box<dyn ObjectStore>> {
        let options = self.all()?;
        let url = format!("{}://{}", self.service.scheme(), self.name);
        let built: object_store::Result<Box<dyn ObjectStore>> = match self.service {
            Service::S3 => {
                let builder = AmazonS3Builder::new().with_url(url).with_retry(retry());
                let builder = each(
                    builder.with_client_options(client()),
                    &options,
                    |builder, key, value| Some(builder.with_config(key.parse().ok()?, value)),
                );
                let conditional = builder.get_config_value(&AmazonS3ConfigKey::ConditionalPut);
                if conditional.is_some_and(|put| put != S3ConditionalPut::ETagMatch.to_string()) {
                    return Err(invalid(
                        "commits need conditional puts: leave this option out",
                        &format!("option=\"conditional_put\" location={self}"),
                    ));
                }
                builder.build().map(|store| Box::new(store) as _)
            }
            Service::Google => {
                let builder = GoogleCloudStorageBuilder::new().with_url(url).with_retry(retry());
                let builder = each(
                    builder.with_client_options(client()),
                    &options,
                    |builder, key, value| {
                        let key = if key == "endpoint" { "base_url" } else { key };
                        Some(builder.with_config(key.parse().ok()?, value))
                    },
                );
                builder.build().map(|store| Box::new(store) as _)
            }
            Service::Azure => {
                let builder = MicrosoftAzureBuilder::new().with_url(url).with_retry(retry());
                let builder = each(
                    builder.with_client_options(client()),
                    &options,
                    |builder, key, value| Some(builder.with_config(key.parse().ok()?, value)),
                );
                builder.build().map(|store| Box::new(store) as _)
            }
        };
        built.map_err(|error| {
            let text = format!("cannot open the object store, see its options: {error}");
            invalid(&text, &format!("location={self}")).with_source(error)
        })
    }

    /// Variables, then options, so that these win; with the values of files.
    fn all(&self) -> Result<Vec<(String, String)>> {
        let all = self.variables.iter().chain(&self.options);
        all.map(|(key, value)| match file_option(self.service, key) {
            None => Ok((key.clone(), value.clone())),
            Some(option) => {
                let text = std::fs::read_to_string(value).map_err(|error| {
                    let text = format!("cannot read the file of an option: {error}");
                    invalid(&text, &format!("option={key:?} path={value} location={self}")).with_source(error)
                })?;
                Ok((option.to_owned(), text.trim().to_owned()))
            }
        })
        .collect()
    }
}

/// Sets each option that the builder has; [`Location::with`] has refused the others.
fn each<B: Clone>(builder: B, options: &[(String, String)], set: impl Fn(B, &str, &str) -> Option<B>) -> B {
    options.iter().fold(builder, |builder, (key, value)| {
        set(builder.clone(), key, value).unwrap_or(builder)
    })
}

fn client() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(REMOTE_CONNECT_TIME_MAX)
        .with_timeout(REMOTE_REQUEST_TIME_MAX)
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: REMOTE_RETRIES_MAX,
        retry_timeout: REMOTE_RETRY_TIME_MAX,
    }
}

fn invalid(text: &str, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format_args!("{text} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_folders_or_buckets() {
        for (text, shown) in [
            ("data/warehouse", "data/warehouse"),
            ("s3://events", "s3://events"),
            ("gs://events/a/b/", "gs://events/a/b"),
            ("az://events/a", "az://events/a"),
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "ftp://x",
            "s3://",
            "s3:///x",
            "s3://key:secret@bucket/x",
            "s3://b/a?x=secret",
            "s3://b/a//c",
        ] {
            let error = Location::parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn options_are_known_and_their_values_are_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "a secret\n").unwrap();
        let place = Location::parse("s3://events/x").unwrap();
        let error = place.clone().with("endpont", "a secret").unwrap_err().to_string();
        assert!(error.contains("endpont") && !error.contains("secret"), "{error}");
        let place = place
            .with("secret_access_key_file", file.to_str().unwrap())
            .and_then(|place| place.with("access_key_id", "an id"))
            .unwrap()
            .with_variables([
                ("AWS_SESSION_TOKEN".to_owned(), "a secret".to_owned()),
                ("AWS_PAGER".to_owned(), "less".to_owned()),
                ("HOME".to_owned(), "/".to_owned()),
            ]);
        let store = place.open().unwrap();
        for shown in [format!("{place:?} {place}"), format!("{store:?} {store}")] {
            assert!(
                shown.contains("s3://events/x") && !shown.contains("secret"),
                "{shown}"
            );
        }
        let Place::Bucket(bucket) = &place.0 else {
            panic!("a bucket")
        };
        let all = bucket.all().unwrap();
        assert_eq!(all[0], ("aws_session_token".to_owned(), "a secret".to_owned()));
        assert_eq!(all[1], ("secret_access_key".to_owned(), "a secret".to_owned()));
        assert_eq!(all.len(), 3, "{all:?}");

        let gone = Location::parse("s3://events")
            .unwrap()
            .with("token_file", "/gone")
            .unwrap();
        assert_eq!(gone.open().unwrap_err().kind(), ErrorKind::Invalid);
        let unsafe_puts = Location::parse("s3://events")
            .unwrap()
            .with("conditional_put", "disabled");
        assert_eq!(
            unsafe_puts.unwrap().open().unwrap_err().kind(),
            ErrorKind::Invalid
        );
        let folder = Location::from("x").with("region", "eu");
        assert_eq!(folder.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn each_service_opens_with_its_options() {
        let open = |url: &str, options: &[(&str, &str)]| {
            let place = options
                .iter()
                .try_fold(Location::parse(url).unwrap(), |place, (key, value)| {
                    place.with(key, *value)
                });
            place.unwrap().open().map(|store| store.to_string())
        };
        let s3 = open(
            "s3://b/p",
            &[
                ("region", "eu-west-1"),
                ("endpoint", "http://127.0.0.1:1"),
                ("allow_http", "true"),
            ],
        );
        assert_eq!(s3.unwrap(), "s3://b/p");
        let google = open(
            "gs://b/p",
            &[("endpoint", "http://127.0.0.1:1"), ("skip_signature", "true")],
        );
        assert_eq!(google.unwrap(), "gs://b/p");
        let azure = open("az://b", &[("account_name", "a"), ("access_key", "YQ==")]);
        assert_eq!(azure.unwrap(), "az://b");
        assert_eq!(open("az://b", &[]).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
