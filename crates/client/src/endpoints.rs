//! The servers that a client may send to, in the order of preference, and the connections to them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use arrow_flight::Empty;
use arrow_flight::flight_service_client::FlightServiceClient;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::credentials::{ClientTls, Credentials, Dialed, Secret};
use crate::limits::{ENDPOINTS_FILE_BYTES_MAX, ENDPOINTS_MAX};
use crate::{Connector, Error, Result};

/// How a connection is made.
#[derive(Clone, Debug, Default)]
pub struct Dial {
    /// What every call shows, to a server that asks who it is. Default: none.
    pub token: Option<Secret>,
    /// How servers with `https://` addresses are believed. Default: as the system believes others.
    pub tls: Option<ClientTls>,
    /// Where connections come from. Default: TCP of the system.
    pub connector: Option<Connector>,
}

/// Servers by address. A connection is made when it is first used, and whenever it was lost; the name in the
/// address is resolved each time.
#[derive(Debug)]
pub struct Endpoints {
    file: Option<PathBuf>,
    connector: Option<Connector>,
    credentials: Credentials,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    list: Vec<String>,
    channels: HashMap<String, Channel>,
}

impl Endpoints {
    /// Checks all addresses, 1 to 64 of `http://host:port` or
    /// `https://host:port`; those of the file, if it can be read, are taken instead.
    ///
    /// # Errors
    /// `Invalid` for too few, too many, or what is no address, or when TLS cannot be set up.
    pub fn new(list: Vec<String>, file: Option<PathBuf>, dial: &Dial) -> Result<Self> {
        let credentials = Credentials::new(dial.token.as_ref(), dial.tls.as_ref())?;
        let connector = dial.connector.clone();
        if list.is_empty() || list.len() > ENDPOINTS_MAX {
            return Err(Error::invalid(format_args!(
                "give 1 to {ENDPOINTS_MAX} endpoints endpoints={}",
                list.len()
            )));
        }
        let mut channels = HashMap::new();
        for address in &list {
            channels.insert(
                address.clone(),
                connect(address, &credentials, connector.as_ref())?,
            );
        }
        Ok(Self {
            file,
            connector,
            credentials,
            known: Mutex::new(Known { list, channels }),
        })
    }

    /// The addresses now: those of the file if there is one and it can be read, else those known last. The
    /// second part says what is wrong with the file.
    pub fn list(&self) -> (Vec<String>, Option<Error>) {
        let read = self.file.as_deref().map(read_list);
        let mut known = self.known.lock().expect("no holder of the lock panics");
        match read {
            None => (known.list.clone(), None),
            Some(Err(error)) => (known.list.clone(), Some(error)),
            Some(Ok(list)) => {
                known.channels.retain(|address, _| list.contains(address));
                known.list.clone_from(&list);
                (list, None)
            }
        }
    }

    /// Whether the list may be another one later.
    pub fn may_change(&self) -> bool {
        self.file.is_some()
    }

    /// The connection to an address of the list.
    ///
    /// # Errors
    /// `Invalid` for what is no address.
    pub fn channel(&self, address: &str) -> Result<Dialed> {
        let mut known = self.known.lock().expect("no holder of the lock panics");
        if let Some(channel) = known.channels.get(address) {
            return Ok(self.credentials.connection(channel.clone()));
        }
        let channel = connect(address, &self.credentials, self.connector.as_ref())?;
        known.channels.insert(address.to_owned(), channel.clone());
        Ok(self.credentials.connection(channel))
    }

    /// The next use connects anew.
    pub fn forget(&self, address: &str) {
        self.known
            .lock()
            .expect("no holder of the lock panics")
            .channels
            .remove(address);
    }
}

/// Whether a server answers at all, be it with no.
pub async fn is_there(channel: Dialed, timeout: Duration) -> bool {
    let mut client = FlightServiceClient::new(channel);
    match tokio::time::timeout(timeout, client.list_actions(Empty {})).await {
        Err(_) => false,
        Ok(Ok(_)) => true,
        Ok(Err(status)) => matches!(
            status.code(),
            Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument
        ),
    }
}

/// The wait before the next of so many endpoints is tried, after so many failures since the last answer: it doubles each
/// time all had theirs, up to the maximum; at random between half and all of it, so that senders do not come back all
/// at once.
pub fn back_off(
    failures: u32,
    endpoints: usize,
    (wait_min, wait_max): (Duration, Duration),
    random: u64,
) -> Duration {
    let factor = 1u32 << (failures as usize / endpoints.max(1)).min(16);
    let whole = wait_min.saturating_mul(factor);
    let share = (random >> 11) as f64 / (1u64 << 53) as f64;
    whole.min(wait_max).mul_f64(0.5 + share / 2.0)
}

fn connect(address: &str, credentials: &Credentials, connector: Option<&Connector>) -> Result<Channel> {
    let endpoint = credentials
        .secure(endpoint_of(address)?, address)?
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    Ok(match connector {
        None => endpoint.connect_lazy(),
        Some(connector) => endpoint.connect_with_connector_lazy(connector.to(address)),
    })
}

fn endpoint_of(address: &str) -> Result<Endpoint> {
    let bad = |error: &dyn std::fmt::Display| {
        Error::invalid(format_args!(
            "not an endpoint, use http://host:port or https://host:port endpoint={address:?}: {error}"
        ))
    };
    if !address.starts_with("http://") && !address.starts_with("https://") {
        return Err(bad(&"it must start with http:// or https://"));
    }
    Endpoint::from_shared(address.to_owned()).map_err(|error| bad(&error))
}

/// One address a line; blank lines and those that begin with `#` do not count.
fn read_list(path: &Path) -> Result<Vec<String>> {
    let bad = |what: &dyn std::fmt::Display| {
        Error::invalid(format_args!(
            "list of endpoints cannot be used: {what} file={}",
            path.display()
        ))
    };
    let bytes = std::fs::metadata(path).map_err(|error| bad(&error))?.len();
    if bytes > ENDPOINTS_FILE_BYTES_MAX {
        return Err(bad(&format_args!(
            "too large bytes={bytes} bytes_max={ENDPOINTS_FILE_BYTES_MAX}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(&error))?;
    let lines = text.lines().map(str::trim);
    let list: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if list.is_empty() || list.len() > ENDPOINTS_MAX {
        return Err(bad(&format_args!(
            "give 1 to {ENDPOINTS_MAX}, one a line endpoints={}",
            list.len()
        )));
    }
    match list.iter().find_map(|address| endpoint_of(address).err()) {
        Some(error) => Err(bad(&error)),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_each_time_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoints");
        let endpoints = Endpoints::new(
            vec!["http://a:1".to_owned()],
            Some(file.clone()),
            &Dial::default(),
        )
        .unwrap();
        let (list, error) = endpoints.list();
        assert_eq!(list, ["http://a:1"]);
        assert!(error.unwrap().to_string().contains("endpoints"));
        std::fs::write(&file, "# ours\nhttp://b:1\n\n http://c:2\n").unwrap();
        assert_eq!(endpoints.list().0, ["http://b:1", "http://c:2"]);
        for bad in ["", "# none", "http://b b", "b:8081"] {
            std::fs::write(&file, bad).unwrap();
            let (list, error) = endpoints.list();
            assert_eq!(list, ["http://b:1", "http://c:2"]);
            assert!(error.is_some(), "{bad}");
        }
        for bad in ["ftp://a:1", "a:1", "http://a b"] {
            assert!(
                Endpoints::new(vec![bad.to_owned()], None, &Dial::default()).is_err(),
                "{bad}"
            );
        }
    }
}
