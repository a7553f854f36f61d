//! What must hold at the end, and the trace by which two runs are told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::ipc::reader::StreamReader;
use event::{Batch, EmitterId, Encoding};
use serde_json::Value;

use super::emitter::{Life, Stream};
use super::queue::SimQueue;

/// An event: its life and its number.
type Id = (u64, u64);

/// The events of a batch, in order.
fn events(batch: &Batch) -> Result<Vec<Id>, String> {
    let ids: Vec<Id> = match batch.header.encoding {
        Encoding::Ndjson => {
            let lines = batch
                .payload
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            let id = |line: &[u8]| {
                let event: Value = serde_json::from_slice(line).ok()?;
                Some((event["life"].as_u64()?, event["n"].as_u64()?))
            };
            lines
                .map(id)
                .collect::<Option<_>>()
                .ok_or("a line in the queue was not emitted")?
        }
        Encoding::ArrowIpc => {
            let told = |error| format!("rows in the queue cannot be read: {error}");
            let reader = StreamReader::try_new(&batch.payload[..], None).map_err(told)?;
            let mut ids = Vec::new();
            for rows in reader {
                let rows = rows.map_err(told)?;
                let column = |at| rows.column(at).as_primitive::<UInt64Type>().values().to_vec();
                ids.extend(column(0).into_iter().zip(column(1)));
            }
            ids
        }
        other => return Err(format!("nobody emits this encoding encoding={other:?}")),
    };
    if ids.len() != batch.header.events as usize {
        return Err(format!(
            "a batch of {} events holds {}",
            batch.header.events,
            ids.len()
        ));
    }
    Ok(ids)
}

/// Holds what the queue has against what the lives say.
pub(crate) fn judge(queue: &SimQueue, lives: &[Life]) -> Result<(), String> {
    let kept = queue.kept();
    let (_, refused, _) = queue.history();
    let mut refused_ids = BTreeSet::new();
    for batch in &refused {
        let ids = events(batch)?;
        refused_ids.extend(ids.into_iter().map(|id| (batch.dataset.clone(), id)));
    }
    for (name, batches) in &kept {
        let mut by_emitter: BTreeMap<EmitterId, Vec<Id>> = BTreeMap::new();
        for batch in batches {
            let ids = by_emitter.entry(batch.header.key.emitter).or_default();
            ids.extend(events(batch)?);
        }
        for (emitter, ids) in by_emitter {
            let Some((life, of)) = lives.iter().enumerate().find(|(_, life)| life.emitter == emitter) else {
                return Err(format!("{name} has batches of an emitter that never was"));
            };
            let stream = of.streams.iter().find(|stream| stream.dataset.name() == name);
            let stream = stream.ok_or_else(|| format!("{name}: never sent to by life {life}"))?;
            if let Some(pair) = ids.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
                return Err(format!(
                    "{name}, life {life}: {} and then {}: doubled or out of order",
                    pair[0].1, pair[1].1
                ));
            }
            let taken: BTreeSet<_> = stream.taken.iter().map(|n| (life as u64, *n)).collect();
            if let Some(id) = ids.iter().find(|id| !taken.contains(id)) {
                return Err(format!(
                    "{name}, life {life}: {id:?} is in the queue and was never taken"
                ));
            }
        }
    }
    for (at, life) in lives.iter().enumerate() {
        for stream in &life.streams {
            let refused = |id| refused_ids.contains(&(stream.dataset.name().clone(), id));
            settled(at, life, stream, (kept.get(stream.dataset.name()), &refused))?;
        }
    }
    Ok(())
}

/// Whether what the client of a life says of a dataset is so: what is kept, and what was refused.
fn settled(
    at: usize,
    life: &Life,
    stream: &Stream,
    (kept, refused): (Option<&Vec<Batch>>, &dyn Fn(Id) -> bool),
) -> Result<(), String> {
    let name = stream.dataset.name();
    let of_life = kept.into_iter().flatten();
    let of_life = of_life.filter(|batch| batch.header.key.emitter == life.emitter);
    let mut there = BTreeSet::new();
    for batch in of_life {
        there.extend(events(batch)?);
    }
    let (stats, taken) = (stream.dataset.stats(), stream.taken.len());
    // Batches are settled in order, so what is settled comes first.
    let settled = (stats.acked + stats.dropped.refused) as usize;
    if settled > taken || (life.is_done && settled < taken) {
        return Err(format!("{name}, life {at}: {settled} of {taken} are settled"));
    }
    let mut lost = 0;
    for n in &stream.taken[..settled] {
        let id = (at as u64, *n);
        match (there.contains(&id), refused(id)) {
            (true, false) => {}
            (false, true) => lost += 1,
            (true, true) => return Err(format!("{name}, life {at}: {n} was refused and is there")),
            (false, false) => return Err(format!("{name}, life {at}: {n} was acked and is lost")),
        }
    }
    let told = stats.dropped.refused;
    if lost != told {
        return Err(format!("{name}, life {at}: {lost} were refused, told of {told}"));
    }
    Ok(())
}

/// All that became durable, in order and with the time, as one number. Emitters count by their lives: their ids
/// are made by the system.
pub(crate) fn trace(queue: &SimQueue, lives: &[Life]) -> u64 {
    let (synced, refused, lost) = queue.history();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let refused = refused.into_iter().map(|batch| (Duration::ZERO, batch));
    for (time, batch) in synced.into_iter().chain(refused) {
        let life = lives
            .iter()
            .position(|life| life.emitter == batch.header.key.emitter);
        take(&time.as_micros().to_le_bytes());
        take(&life.unwrap_or(usize::MAX).to_le_bytes());
        take(batch.dataset.as_str().as_bytes());
        take(&batch.header.key.epoch.0.to_le_bytes());
        take(&batch.header.key.sequence.0.to_le_bytes());
        take(&batch.header.generated_at.as_microsecond().to_le_bytes());
        take(&batch.header.received_at.as_microsecond().to_le_bytes());
        take(&batch.payload);
    }
    take(&lost.to_le_bytes());
    hash
}
