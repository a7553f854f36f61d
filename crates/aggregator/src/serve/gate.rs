//! How many connections a door has, in all and by peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use super::ServeOptions;

/// Counts connections.
#[derive(Debug)]
pub(super) struct Gate {
    connections_max: usize,
    per_peer_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    peer: IpAddr,
}

/// Which limit a connection is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Door,
    Peer,
}

impl Gate {
    pub(super) fn new(options: &ServeOptions) -> Arc<Self> {
        Arc::new(Self {
            connections_max: options.connections_max,
            per_peer_max: options.connections_per_peer_max,
            held: Mutex::default(),
        })
    }

    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let peer = peer_of(address);
        let mut held = self.held();
        if held.total >= self.connections_max {
            return Err(Full::Door);
        }
        let total = held.total + 1;
        let of_peer = held.by_peer.entry(peer).or_default();
        if *of_peer >= self.per_peer_max {
            return Err(Full::Peer);
        }
        *of_peer += 1;
        held.total = total;
        Ok(Place {
            gate: Arc::clone(self),
            peer,
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no holder of the lock panics")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.gate.held();
        held.total -= 1;
        if let Some(of_peer) = held.by_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                held.by_peer.remove(&self.peer);
            }
        }
    }
}

/// Whoever has one IPv6 address commonly has its whole /64.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_door_and_by_peer_and_come_back() {
        let gate = Gate::new(&ServeOptions {
            connections_max: 3,
            connections_per_peer_max: 2,
            ..ServeOptions::default()
        });
        let enter = |address: &str| gate.enter(address.parse().unwrap());
        let (first, _second) = (enter("10.0.0.1").unwrap(), enter("::ffff:10.0.0.1").unwrap());
        assert_eq!(enter("10.0.0.1").unwrap_err(), Full::Peer);
        let third = enter("2001:db8::1").unwrap();
        assert_eq!(enter("10.0.0.2").unwrap_err(), Full::Door);
        drop(first);
        let _fourth = enter("2001:db8::ffff:2").unwrap();
        drop(third);
        let _fifth = enter("2001:db8::3").unwrap();
        assert_eq!(enter("2001:db8:0:1::1").unwrap_err(), Full::Door);
        drop((_second, _fourth, _fifth));
        assert!(gate.held().by_peer.is_empty() && gate.held().total == 0);
    }
}
