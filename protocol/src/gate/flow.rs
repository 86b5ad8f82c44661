//! What a gate keeps about the flows of a VPN tunnel: [`echo`], ICMP echoes, translated from a client's numbers to the device's and
//! back.

pub mod echo;
