//! The agency's own people: who works here, on what device, and how they prove it.
//!
//! Agencies, teams and users are managed over REST and never synced; phones get the short `staff`
//! list instead. Sessions, links and throttles belong to no agency's clock and are written in a
//! side transaction. `session.rs` holds the rules of refresh tokens.

pub mod agency;
pub mod device;
pub mod holiday;
pub mod letters;
pub mod link;
pub mod name;
pub mod rates;
pub mod secret;
pub mod session;
pub mod staff;
pub mod team;
pub mod throttle;
pub mod user;
