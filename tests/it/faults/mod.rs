//! What is killed, broken off or full, and what must be left standing then.

mod full_disk;
mod killed_server;
mod killed_worker;
mod restarted_database;
