//! Both doors on real ports, before a memory queue.

mod door;
mod http;
mod put;
