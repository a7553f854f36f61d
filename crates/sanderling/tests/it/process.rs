//! Processes of the program, to be killed, stopped and started again.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// A process of the program on fixed ports, so that clients find it again.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(args: &[String]) -> Self {
        let start = Instant::now();
        loop {
            let mut child = Command::new(env!("CARGO_BIN_EXE_sanderling"))
                .args(args)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap())
                .lines()
                .map_while(Result::ok);
            if out.any(|line| line == "ready") {
                return Self { child };
            }
            // The port may still be held by the connections of the one that was killed.
            let _ = child.wait();
            assert!(start.elapsed() < PATIENCE, "the program does not start: {args:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Does nothing for a while: SIGSTOP, then SIGCONT.
    pub(crate) fn stall(&self, time: Duration) {
        self.signal("-STOP");
        std::thread::sleep(time);
        self.signal("-CONT");
    }

    /// Sends a signal, such as `-HUP`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Free ports below those that the system gives to outgoing connections: a client that tries to reach a server which
/// is down could otherwise be given the server's port. Each test takes them from a range of its own.
pub(crate) fn free_ports<const COUNT: usize>(range: u16) -> [SocketAddr; COUNT] {
    let first = 20_000 + 2_000 * range + (std::process::id() % 1_000) as u16;
    let mut free = (first..first + 1_000).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    // All are held until the last is found, so that they differ.
    let held: [TcpListener; COUNT] = std::array::from_fn(|_| free.next().expect("some ports are free"));
    held.map(|listener| listener.local_addr().unwrap())
}
