//! The server's process: the Flight door before a log, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aggregator::{Aggregator, AggregatorOptions, limits};
use arrow_flight::flight_service_server::FlightServiceServer;
use queue::{LogOptions, LogQueue};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use crate::put_only::PutOnly;
use crate::{Result, machine};

/// A server as a child process.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this program with a verb, and waits for its address.
    pub(crate) fn start(verb: &str, folder: &Path) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(verb)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = process.stdout.take().ok_or("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line
            .trim()
            .parse()
            .map_err(|error| format!("server did not start: {error}"))?;
        Ok(Self { process, address })
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        machine::cpu_of(&self.process.id().to_string())
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says where a child listens.
pub(crate) fn announce(address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    Ok(out.flush()?)
}

pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let (queue, _) = LogQueue::open(folder, LogOptions::default())?;
    let options = AggregatorOptions {
        // As many as the log has writers, so that the processors can write side by side.
        partitions: Arc::new(|_| 2),
        ..AggregatorOptions::default()
    };
    let aggregator = Aggregator::new(Arc::new(queue), options);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?)?;
    let window = limits::FLIGHT_MESSAGE_BYTES_MAX as u32;
    let service = FlightServiceServer::new(PutOnly(aggregator))
        .max_decoding_message_size(limits::FLIGHT_MESSAGE_BYTES_MAX);
    tonic::transport::Server::builder()
        .initial_stream_window_size(window / 4)
        .initial_connection_window_size(window)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}
