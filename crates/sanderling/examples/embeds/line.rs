//! A line of a web log, and the request that it tells of.

use jiff::fmt::strtime;
use sanderling::prelude::*;
use serde::Deserialize;

/// A line of a text file, or an event with such a field.
#[derive(Clone, Deserialize)]
pub(crate) struct Line {
    pub(crate) line: String,
}

/// What the job needs of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) time: Timestamp,
    method: String,
    path: String,
    /// The host of the page that asked for it, if it says so.
    referrer: Option<String>,
}

impl Request {
    /// The image and the site, if it is one that another site shows.
    pub(crate) fn embed(self) -> Option<(String, String)> {
        let site = self.referrer?;
        let is_image = [".png", ".jpg", ".jpeg", ".gif"]
            .iter()
            .any(|end| self.path.to_ascii_lowercase().ends_with(end));
        let is_own = site == "semicomplete.com" || site == "www.semicomplete.com";
        (self.method == "GET" && is_image && !is_own).then_some((self.path, site))
    }

    /// A line in the combined format of web servers; `None` when it is not.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (before, rest) = line.split_once('[')?;
        let (time, rest) = rest.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        let (status_and_bytes, rest) = rest.split_once(" \"")?;
        let (referrer, rest) = rest.split_once("\" \"")?;
        let agent = rest.strip_suffix('"')?;
        let (status, bytes) = status_and_bytes.split_once(' ')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_whole = before.split(' ').count() == 4
            && status.len() == 3
            && is_number(status)
            && (bytes == "-" || is_number(bytes))
            && !agent.contains('"');
        if !is_whole {
            return None;
        }
        let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", time)
            .ok()?
            .to_timestamp()
            .ok()?;
        let mut words = request.split(' ');
        let (method, target) = (words.next()?, words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        Some(Self {
            time: Timestamp(time.as_millisecond()),
            method: method.to_owned(),
            path: path.to_owned(),
            referrer: host(referrer),
        })
    }
}

/// The host of an absolute address, lower case.
fn host(address: &str) -> Option<String> {
    let (_, rest) = address.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}
