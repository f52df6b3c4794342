//! Sync: the engine under random schedules, and what those schedules taught.

mod agency;
mod bad_input;
mod bounds;
mod crowd;
mod custody;
mod devices;
mod field_day;
mod held;
mod laptop;
mod native;
mod native_device;
mod pacing;
mod phones;
mod poke;
mod purge;
mod races;
mod reach;
mod replays;
mod replica;
mod restored;
mod rules;
mod rxdb;
mod second_version;
mod simulation;
mod vectors;
mod ways;
