//! A server with default settings, and HTTP requests to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use sanderling::Server;
use serde_json::Value;

use crate::support::settings;

pub(crate) async fn start(data_dir: &Path) -> Server {
    Server::start(settings(data_dir)).await.unwrap()
}

/// Status and body of an HTTP request.
pub(crate) fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunked(body) } else { body.to_owned() })
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        out.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    out
}

/// A blocking call off the runtime's threads, so that a server in this process can answer it.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[&'static str],
    body: impl Into<Vec<u8>>,
) -> (u16, Value) {
    let (path, headers, body) = (path.to_owned(), headers.to_vec(), body.into());
    let (status, text) = tokio::task::spawn_blocking(move || http(address, "POST", &path, &headers, &body))
        .await
        .unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) async fn put(address: SocketAddr, path: &str, body: &str) -> (u16, Value) {
    let (path, body) = (path.to_owned(), body.as_bytes().to_vec());
    let (status, text) = tokio::task::spawn_blocking(move || http(address, "PUT", &path, &[], &body))
        .await
        .unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || http(address, "GET", &path, &[], b""))
        .await
        .unwrap()
}
