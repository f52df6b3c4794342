//! JSON inside a row: lists and objects such as a goal's scale texts.

use std::fmt;
use std::str::FromStr;

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

/// A JSON value stored as TEXT, so that both databases keep the same bytes and a NUL inside a
/// string cannot be accepted by one and refused by the other.
#[derive(Clone, Debug, Default, PartialEq, DeriveValueType, Serialize, Deserialize)]
#[sea_orm(value_type = "String")]
#[serde(transparent)]
pub struct Doc(pub serde_json::Value);

impl fmt::Display for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Doc {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text).map(Doc)
    }
}
