//! Makes the adapter: a TUN interface that is gone when nobody has it open.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use ipnet::IpNet;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use tun_rs::DeviceBuilder;

use crate::message::{MTU, Step};
use crate::netlink::{Change, Netlink};

/// What is left of an adapter when it was handed over: enough to change its routes.
#[derive(Debug)]
pub(crate) struct Adapter {
    /// Its name on this computer.
    pub(crate) name: String,
    index: u32,
    netlink: Netlink,
    routes: BTreeSet<IpNet>,
}

/// What the kernel would not do.
pub(crate) type Failure = (Step, io::Error);

impl Adapter {
    /// Makes it; the file is the adapter, and closing its last copy ends it.
    ///
    /// # Errors
    /// The kernel's, with the step. Nothing is left then.
    pub(crate) fn create(addresses: &[IpAddr], plain: bool) -> Result<(Self, OwnedFd), Failure> {
        let create = |error| (Step::Create, error);
        // Large packets of one connection come at once, and go at once, unless they go on as they are.
        let builder = DeviceBuilder::new().name(NAME).mtu(MTU).with(|options| {
            options.offload(!plain);
        });
        let device = builder.build_sync().map_err(create)?;
        let name = device.name().map_err(create)?;
        let file = device.as_fd().try_clone_to_owned().map_err(create)?;
        drop(device);
        let flags = SocketFlags::CLOEXEC;
        let inet = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None);
        let index = inet.and_then(|inet| netdevice::name_to_index(inet, &name));
        let index = index.map_err(|error| create(error.into()))?;
        let netlink = Netlink::open().map_err(create)?;
        for address in addresses {
            match netlink.change(index, Change::AddAddress(*address)) {
                // IPv6 may be switched off; whoever asks for its routes hears it then.
                Err(error) if address.is_ipv4() => return Err((Step::Address, error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok((Self { name, index, netlink, routes: BTreeSet::new() }, file))
    }

    /// Routes these networks over it, and no others.
    ///
    /// # Errors
    /// The kernel's, at the first that it refuses; those before are changed.
    pub(crate) fn route(&mut self, wanted: &[IpNet]) -> Result<(), Failure> {
        let wanted: BTreeSet<IpNet> = wanted.iter().copied().collect();
        let route = |error| (Step::Route, error);
        for gone in self.routes.difference(&wanted).copied().collect::<Vec<_>>() {
            self.netlink.change(self.index, Change::RemoveRoute(gone)).map_err(route)?;
            self.routes.remove(&gone);
        }
        for new in wanted.difference(&self.routes).copied().collect::<Vec<_>>() {
            self.netlink.change(self.index, Change::AddRoute(new)).map_err(route)?;
            self.routes.insert(new);
        }
        Ok(())
    }
}

/// The kernel puts the first free number at its end.
const NAME: &str = "postern%d";
