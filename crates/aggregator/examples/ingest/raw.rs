//! The raw limit: bytes over loopback TCP into files with room made ahead, written one after the other and synced in
//! groups of what has come, each connection told how many of its bytes are on the disk.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::{Duration, Instant};

use crate::Result;
use crate::server::{Child, announce};

/// What is written to a connection at a time: a batch of the client.
const CHUNK_BYTES: usize = 128 << 10;
/// What a connection may have without an ack.
const WINDOW_BYTES: u64 = 16 << 20;
/// What is synced at a time, at most.
const GROUP_BYTES: usize = 4 << 20;
/// A file ends here, as a segment of the log does.
const FILE_BYTES: u64 = 64 << 20;

struct Chunk {
    bytes: Vec<u8>,
    from: TcpStream,
    spare: Sender<Vec<u8>>,
}

pub(crate) fn serve(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let folder = folder.to_owned();
    // Chunks that wait to be written: bounded, so that senders are slowed down.
    let (chunks, written) = sync_channel::<Chunk>((64 << 20) / CHUNK_BYTES);
    std::thread::spawn(move || write(&folder, &written));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?)?;
    for stream in listener.incoming() {
        let (mut stream, chunks) = (stream?, chunks.clone());
        stream.set_nodelay(true)?;
        std::thread::spawn(move || -> std::io::Result<()> {
            let (spare, spares) = channel();
            loop {
                let mut bytes = spares.try_recv().unwrap_or_else(|_| vec![0; CHUNK_BYTES]);
                stream.read_exact(&mut bytes)?;
                let chunk = Chunk {
                    bytes,
                    from: stream.try_clone()?,
                    spare: spare.clone(),
                };
                if chunks.send(chunk).is_err() {
                    return Ok(());
                }
            }
        });
    }
    Ok(())
}

fn write(folder: &Path, chunks: &Receiver<Chunk>) -> std::io::Result<()> {
    let (mut file, mut number, mut at) = (begin(folder, 0)?, 0, 0);
    while let Ok(first) = chunks.recv() {
        let mut group = vec![first];
        while group.len() * CHUNK_BYTES < GROUP_BYTES
            && let Ok(next) = chunks.try_recv()
        {
            group.push(next);
        }
        if at + GROUP_BYTES as u64 > FILE_BYTES {
            number += 1;
            (file, at) = (begin(folder, number)?, 0);
        }
        for chunk in &group {
            file.write_all_at(&chunk.bytes, at)?;
            at += CHUNK_BYTES as u64;
        }
        file.sync_data()?;
        for chunk in group {
            // A sender that has gone needs no ack.
            let _ = (&chunk.from).write_all(&[1]);
            let _ = chunk.spare.send(chunk.bytes);
        }
    }
    Ok(())
}

/// A new file with its room; the 64th before it goes, so that the disk is not filled.
fn begin(folder: &Path, number: u64) -> std::io::Result<File> {
    if let Some(old) = number.checked_sub(64) {
        std::fs::remove_file(folder.join(old.to_string()))?;
    }
    let file = File::create(folder.join(number.to_string()))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?;
    file.sync_all()?;
    Ok(file)
}

/// Bytes a second that are acked.
pub(crate) fn measure(folder: &Path, connections: usize, time: Duration) -> Result<f64> {
    let data = folder.join("raw");
    let child = Child::start("serve-raw", &data)?;
    // The first round warms up.
    let mut rate = 0.0;
    for time in [Duration::from_secs(2), time] {
        let senders: Vec<_> = (0..connections)
            .map(|_| {
                let address = child.address;
                std::thread::spawn(move || send(TcpStream::connect(address)?, time))
            })
            .collect();
        let mut chunks = 0;
        for sender in senders {
            chunks += sender.join().map_err(|_| "a sender panicked")??;
        }
        rate = chunks as f64 * CHUNK_BYTES as f64 / time.as_secs_f64();
    }
    child.stop()?;
    std::fs::remove_dir_all(&data)?;
    Ok(rate)
}

/// Sends for a time and counts the chunks that were acked in it.
fn send(stream: TcpStream, time: Duration) -> std::io::Result<u64> {
    stream.set_nodelay(true)?;
    let (chunk, mut acks) = (vec![7; CHUNK_BYTES], [0; 4096]);
    let (start, mut sent, mut acked) = (Instant::now(), 0u64, 0u64);
    while start.elapsed() < time {
        let is_full = (sent - acked) * CHUNK_BYTES as u64 >= WINDOW_BYTES;
        stream.set_nonblocking(!is_full)?;
        match (&stream).read(&mut acks) {
            Ok(count) => acked += count as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if !is_full {
            stream.set_nonblocking(false)?;
            (&stream).write_all(&chunk)?;
            sent += 1;
        }
    }
    Ok(acked)
}
