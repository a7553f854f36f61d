//! Whether a server may listen where it is told to.

use std::net::SocketAddr;

use crate::{Error, Result};

/// Where a server listens, and how it knows who comes.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The doors by name.
    pub doors: &'a [(&'a str, SocketAddr)],
    /// It asks for tokens, or for clients' certificates.
    pub has_access: bool,
    /// It speaks TLS.
    pub has_tls: bool,
    /// It was told that this does not matter.
    pub insecure: bool,
}

impl Binding<'_> {
    /// Checks that nobody can come in from another machine without being asked. The text that comes back is to be
    /// logged: it is allowed, and somebody on the way could read along.
    ///
    /// # Errors
    /// `Invalid`: names the door, its address, and what can be done.
    pub fn check(&self) -> Result<Option<String>> {
        let reached = self.doors.iter().find(|(_, address)| !address.ip().is_loopback());
        let Some((door, address)) = reached else {
            return Ok(None);
        };
        if self.insecure {
            return Ok(None);
        }
        if !self.has_access {
            return Err(Error::invalid(format_args!(
                "other machines could reach this door and nobody is asked who they are: use a loopback address, set tokens_file, or set insecure = true (--insecure) door={door} address={address}"
            )));
        }
        Ok((!self.has_tls).then(|| {
            format!(
                "tokens and events travel in clear text to this door: set [tls], or have a proxy before it that does door={door} address={address}"
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_others_reach_asks_who_they_are() {
        let (near, far): (SocketAddr, SocketAddr) =
            ("[::1]:1".parse().unwrap(), "0.0.0.0:2".parse().unwrap());
        let check = |address, has_access, has_tls, insecure| {
            let doors = [("http", near), ("flight", address)];
            let binding = Binding {
                doors: &doors,
                has_access,
                has_tls,
                insecure,
            };
            match binding.check() {
                Ok(None) => "fine".to_owned(),
                Ok(Some(text)) => format!("warning {text}"),
                Err(error) => format!("error {error}"),
            }
        };
        assert_eq!(check(near, false, false, false), "fine");
        let error = check(far, false, true, false);
        assert!(
            error.starts_with("error") && error.contains("tokens_file"),
            "{error}"
        );
        assert!(error.ends_with("door=flight address=0.0.0.0:2"), "{error}");
        assert_eq!(check(far, false, false, true), "fine");
        assert_eq!(check(far, true, true, false), "fine");
        assert!(check(far, true, false, false).starts_with("warning tokens and events"));
    }
}
