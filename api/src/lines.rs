//! How many connections one address may hold open.
//!
//! Counted in each process: connections are a thing of the process that holds them. One too many is
//! closed before a byte of it is read; a trusted proxy, behind which everybody is, may hold any number.

use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;

use crate::limit::household;
use crate::state::Network;

/// Connections that are open, by address.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    most: usize,
    proxies: Arc<[Network]>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection; it is counted for as long as this lives.
struct Line {
    address: IpAddr,
    lines: Lines,
}

impl Lines {
    /// At most so many for one address; 0 sets no limit.
    pub(crate) fn new(most: u32, proxies: &[Network]) -> Lines {
        Lines { most: usize::try_from(most).unwrap_or(usize::MAX), proxies: proxies.into(), open: Arc::default() }
    }

    /// Meets a new connection: counts it, or closes it when its address has enough of them.
    pub(crate) fn meet(&self, io: &dyn Any, extensions: &mut Extensions) {
        let Some(stream) = io.downcast_ref::<TcpStream>() else { return };
        let Ok(peer) = stream.peer_addr() else { return };
        let address = peer.ip().to_canonical();
        if self.most == 0 || self.proxies.iter().any(|net| net.holds(address)) {
            return;
        }
        match self.count(household(address)) {
            Some(line) => {
                extensions.insert(line);
            }
            None => {
                metrics::counter!("fieldstone_connections_refused_total").increment(1);
                // A line that cannot be closed is gone already.
                let _gone = SockRef::from(stream).shutdown(Shutdown::Both);
            }
        }
    }

    fn count(&self, address: IpAddr) -> Option<Line> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Line { address, lines: self.clone() })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut open = self.lines.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}
