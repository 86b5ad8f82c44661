//! Lists whose length a peer chooses, bounded while they are read.
//!
//! 1. A list field says `#[serde(with = "super::bounded::..")]`.
//! 2. Reading stops at the first element too many: nothing above the bound is ever held.
//! 3. Writing refuses too, so that nobody sends what every peer would refuse.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use crate::limits;

/// At most [`limits::ADDRESSES`] elements.
pub(super) mod addresses {
    use super::*;

    pub(in crate::wire) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(list, limits::ADDRESSES, serializer)
    }

    pub(in crate::wire) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Bounded { limit: limits::ADDRESSES, element: PhantomData })
    }
}

/// At most [`limits::DESTINATIONS`] elements.
pub(super) mod destinations {
    use super::*;

    pub(in crate::wire) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(list, limits::DESTINATIONS, serializer)
    }

    pub(in crate::wire) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Bounded { limit: limits::DESTINATIONS, element: PhantomData })
    }
}

/// At most [`limits::DROPS`] elements.
pub(super) mod drops {
    use super::*;

    pub(in crate::wire) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(list, limits::DROPS, serializer)
    }

    pub(in crate::wire) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Bounded { limit: limits::DROPS, element: PhantomData })
    }
}

/// At most [`limits::PROBES`] elements.
pub(super) mod ports {
    use super::*;

    pub(in crate::wire) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(list, limits::PROBES, serializer)
    }

    pub(in crate::wire) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Bounded { limit: limits::PROBES, element: PhantomData })
    }
}

/// At most [`limits::ROOT_CHAIN`] elements.
pub(super) mod roots {
    use super::*;

    pub(in crate::wire) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(list, limits::ROOT_CHAIN, serializer)
    }

    pub(in crate::wire) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Bounded { limit: limits::ROOT_CHAIN, element: PhantomData })
    }
}

/// At most [`limits::SESSIONS`] elements.
pub(super) mod sessions {
    use super::*;

    pub(in crate::wire) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(list, limits::SESSIONS, serializer)
    }

    pub(in crate::wire) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Bounded { limit: limits::SESSIONS, element: PhantomData })
    }
}

fn write<T: Serialize, S: Serializer>(list: &[T], limit: usize, serializer: S) -> Result<S::Ok, S::Error> {
    if list.len() > limit {
        return Err(S::Error::custom(format_args!("{} elements, at most {limit} are allowed", list.len())));
    }
    list.serialize(serializer)
}

struct Bounded<T> {
    limit: usize,
    element: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} elements", self.limit)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = access.next_element()? {
            if list.len() == self.limit {
                return Err(A::Error::custom(format_args!("more than {} elements", self.limit)));
            }
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::wire::codec::{self, CodecFault};
    use crate::wire::control::AgentMessage;
    use crate::wire::hub::HubAnswer;

    fn moved(count: u16) -> AgentMessage {
        AgentMessage::Moved {
            addresses: (0..count).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect(),
        }
    }

    #[test]
    fn a_list_at_its_bound_is_read_and_one_element_more_is_not() {
        let full = codec::encode(&moved(8), 4096).unwrap();
        assert_eq!(codec::decode(&full, 4096), Ok(moved(8)));
        assert_eq!(codec::encode(&moved(9), 4096), Err(CodecFault::Malformed));
        // The same bytes with a ninth address behind them and the count raised.
        let mut over = full;
        over[1] = 9;
        over.extend_from_slice(&[0, 10, 0, 0, 1, 8]);
        assert_eq!(codec::decode::<AgentMessage>(&over, 4096), Err(CodecFault::Malformed));
    }

    #[test]
    fn a_chain_of_roots_is_bounded_before_it_is_held() {
        // Enrolled, device id, 65 empty roots, an empty snapshot.
        let answer = |count: u8| {
            let mut bytes = vec![0];
            bytes.extend_from_slice(&[1; 8]);
            bytes.push(count);
            bytes.extend(std::iter::repeat_n(0, usize::from(count)));
            bytes.push(0);
            codec::decode::<HubAnswer>(&bytes, 4096)
        };
        assert_eq!(answer(65), Err(CodecFault::Malformed));
        let HubAnswer::Enrolled { roots, .. } = answer(64).unwrap() else { panic!("another answer") };
        assert_eq!(roots.len(), 64);
    }
}
