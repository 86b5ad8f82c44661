//! Holds the wire to its golden bytes, its document, its properties and a slow reference.

#[cfg(test)]
mod administration;
mod approvals;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod document;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod modbus;
#[cfg(test)]
mod nearby;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod packet;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod perturbed;
#[cfg(test)]
#[path = "../../../tests/fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use the same file as a library")]
mod probes;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod rfb;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod separation;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sign_on;
#[cfg(test)]
mod size;
#[cfg(test)]
mod trail;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod weak_keys;
#[cfg(test)]
mod web;
