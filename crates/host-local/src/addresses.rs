//! Addresses on real interfaces: an endpoint's address is put on the interface of its subnet as a single one (/32) with a mark of
//! ours, and goes when the endpoint goes. After a reboot, or after somebody reset the interface, it is put there again.

use crate::endpoints;
use crate::machine::Machine;
use crate::problems::{Doing, blocking};
use futures::TryStreamExt;
use ipnet::Ipv4Net;
use moorage_domain::{ClusterId, Problem, ProblemCode};
use moorage_host::{EndpointState, EndpointWish, HostError, HostResult};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder, new_connection};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// How often addresses are put back that somebody took away.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const SINGLE: u8 = 32;
/// Who put an address there, as the kernel remembers it (IFA_PROTO, Linux 5.18). Nobody else's number is known to be this one.
const OURS: AddressProtocol = AddressProtocol::Other(0x4d);

/// A conversation with the kernel about its network; ends with this value.
struct Kernel {
    handle: Handle,
    conversation: AbortHandle,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.conversation.abort();
    }
}

impl Kernel {
    fn open() -> HostResult<Self> {
        let (connection, handle, _) = new_connection().doing("ask the kernel about its network")?;
        Ok(Self { handle, conversation: tokio::spawn(connection).abort_handle() })
    }

    /// Everywhere this machine has the address.
    async fn find(&self, address: Ipv4Addr) -> Result<Vec<AddressMessage>, rtnetlink::Error> {
        let all = self.handle.address().get().execute();
        all.try_filter(|found| std::future::ready(local(found) == Some(IpAddr::V4(address)))).try_collect().await
    }

    /// Puts a single address on an interface, with our mark; it being there by now is fine.
    async fn add(&self, index: u32, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
        let mut request = self.handle.address().add(index, IpAddr::V4(address), SINGLE);
        request.message_mut().attributes.push(AddressAttribute::Protocol(OURS));
        match request.execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -Errno::EXIST.raw_os_error() => Ok(()),
            added => added,
        }
    }

    async fn index_of(&self, interface: &str) -> Result<Option<u32>, rtnetlink::Error> {
        let mut found = self.handle.link().get().match_name(interface.to_owned()).execute();
        match found.try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -Errno::NODEV.raw_os_error() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_ours(message: &AddressMessage) -> bool {
    message.header.prefix_len == SINGLE && message.attributes.contains(&AddressAttribute::Protocol(OURS))
}

/// The machine's own end of an address.
fn local(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    local.or(address)
}

/// Whether an interface carries an address by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// It does, and did not before.
    Added,
    /// It did already.
    Already,
    /// This machine has the address for something else.
    Foreign,
}

/// Makes sure that an interface carries an address.
pub(crate) async fn ensure(interface: &str, address: Ipv4Addr) -> HostResult<Carried> {
    let kernel = Kernel::open()?;
    let failed = |error| failed(interface, address, error);
    let Some(index) = kernel.index_of(interface).await.map_err(failed)? else { return Err(no_interface(interface)) };
    let found = kernel.find(address).await.map_err(failed)?;
    if found.is_empty() {
        kernel.add(index, address).await.map_err(failed)?;
        return Ok(Carried::Added);
    }
    let ours = found.iter().any(|found| found.header.index == index && is_ours(found));
    Ok(if ours { Carried::Already } else { Carried::Foreign })
}

/// Makes sure that an interface does not carry an address of ours.
pub(crate) async fn ensure_absent(interface: &str, address: Ipv4Addr) -> HostResult<()> {
    let kernel = Kernel::open()?;
    let failed = |error| failed(interface, address, error);
    // Who is gone carries nothing.
    let Some(index) = kernel.index_of(interface).await.map_err(failed)? else { return Ok(()) };
    for found in kernel.find(address).await.map_err(failed)? {
        if found.header.index == index && is_ours(&found) {
            kernel.handle.address().del(found).execute().await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Takes the addresses of a cluster's endpoint off their interface, unless this wish says that they belong there.
pub(crate) async fn take_away(machine: &Arc<Machine>, cluster: &ClusterId, unless: Option<&EndpointWish>) -> HostResult<()> {
    let (reading, of) = (Arc::clone(machine), cluster.clone());
    for (interface, address) in blocking(move || endpoints::carried_by(&reading, &of)).await? {
        let stays = |wish: &EndpointWish| wish.interface.as_ref() == Some(&interface) && all_of(wish).any(|listen| *listen.ip() == address);
        if !unless.is_some_and(stays) {
            ensure_absent(&interface, address).await?;
        }
    }
    Ok(())
}

/// Where a wish wants the gateway to listen on its subnet.
fn all_of(wish: &EndpointWish) -> impl Iterator<Item = SocketAddrV4> {
    std::iter::once(wish.listen).chain(wish.instances.iter().map(|instance| instance.listen))
}

/// A wish without those addresses of instances that this machine has for something else, and what its endpoint is without them.
pub(crate) async fn without_foreign(wish: &EndpointWish) -> HostResult<(EndpointWish, Option<EndpointState>)> {
    let mut wish = wish.clone();
    let mut without = None;
    if let Some(interface) = wish.interface.clone().filter(|_| !wish.instances.is_empty()) {
        let kernel = Kernel::open()?;
        for wished in std::mem::take(&mut wish.instances) {
            let address = *wished.listen.ip();
            let found = kernel.find(address).await.map_err(|error| failed(&interface, address, error))?;
            if found.iter().all(is_ours) {
                wish.instances.push(wished);
            } else {
                let reason = format!("{}: this machine has the address for something else", wished.listen);
                without = Some(EndpointState::ServingPartly { at: wished.listen.into(), in_use: true, reason });
            }
        }
    }
    Ok((wish, without))
}

/// Makes sure that the interface of a wish carries its addresses; whether the first of them is free for it.
pub(crate) async fn carry(wish: &EndpointWish) -> HostResult<bool> {
    let Some(interface) = &wish.interface else { return Ok(true) };
    for instance in &wish.instances {
        ensure(interface, *instance.listen.ip()).await?;
    }
    Ok(ensure(interface, *wish.listen.ip()).await? != Carried::Foreign)
}

/// Takes the addresses of all endpoints here off their interfaces.
pub(crate) async fn take_away_all(machine: &Arc<Machine>) -> HostResult<()> {
    let reading = Arc::clone(machine);
    for (_, interface, address) in blocking(move || endpoints::carried(&reading)).await? {
        ensure_absent(&interface, address).await?;
    }
    Ok(())
}

/// Why a subnet's range cannot be given out on an interface: the machine has an address in it already that is not an endpoint's, or a
/// router that it needs. None where nothing speaks against it.
pub async fn objection(subnet: Ipv4Net) -> HostResult<Option<String>> {
    let kernel = Kernel::open()?;
    let failed = |error: rtnetlink::Error| crate::problems::failed("look at its network", std::io::Error::other(error.to_string()));
    let within = |address: &IpAddr| matches!(address, IpAddr::V4(address) if subnet.contains(address));
    let addresses: Vec<AddressMessage> = kernel.handle.address().get().execute().try_collect().await.map_err(failed)?;
    if let Some(own) = addresses.iter().filter(|found| !is_ours(found)).filter_map(local).find(within) {
        return Ok(Some(format!("This machine has the address {own} in {subnet} already.")));
    }
    let routes = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes: Vec<RouteMessage> = kernel.handle.route().get(routes).execute().try_collect().await.map_err(failed)?;
    let gateways = routes.iter().flat_map(|route| &route.attributes).filter_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        _ => None,
    });
    Ok(gateways.into_iter().find(within).map(|router| format!("This machine's router {router} is in {subnet}.")))
}

/// For ever: puts addresses back that should be there. `files` is held while an endpoint's file is read and acted upon.
pub(crate) async fn keep(machine: Arc<Machine>, files: Arc<tokio::sync::Mutex<()>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let reading = Arc::clone(&machine);
        let carried = match blocking(move || endpoints::carried(&reading)).await {
            Ok(carried) => carried,
            Err(error) => {
                tracing::warn!(%error, "the addresses of endpoints could not be looked at");
                continue;
            }
        };
        for (cluster, interface, address) in carried {
            let _one = files.lock().await;
            // It may have gone, or have moved, since the list was made.
            let (reading, of) = (Arc::clone(&machine), cluster.clone());
            let Ok(still) = blocking(move || endpoints::carried_by(&reading, &of)).await else { continue };
            if !still.contains(&(interface.clone(), address)) {
                continue;
            }
            match ensure(&interface, address).await {
                Ok(Carried::Added) => tracing::warn!(%cluster, interface, %address, "the address of an endpoint was gone and is put back"),
                Ok(Carried::Already) => {}
                Ok(Carried::Foreign) => tracing::warn!(%cluster, interface, %address, "the address of an endpoint is in other use here"),
                Err(error) => tracing::warn!(%cluster, interface, %address, %error, "the address of an endpoint is missing"),
            }
        }
    }
}

fn no_interface(interface: &str) -> HostError {
    Problem::new(ProblemCode::HostFailed, format!("There is no interface '{interface}' on this machine."))
        .hint("Correct `interface` of the subnet in the configuration, or bring the interface up; then try again.")
        .into()
}

fn failed(interface: &str, address: Ipv4Addr, error: rtnetlink::Error) -> HostError {
    let forbidden = matches!(&error, rtnetlink::Error::NetlinkError(error) if error.raw_code() == -Errno::PERM.raw_os_error());
    let problem = Problem::new(ProblemCode::HostFailed, format!("The interface '{interface}' could not be given the address {address}."));
    let problem = match forbidden {
        true => problem.hint("Run the server as root, or use a subnet in 127.0.0.0/8, which needs no right to change interfaces."),
        false => problem.detail(error.to_string()),
    };
    HostError { problem, passing: false, cause: Some(Box::new(error)) }
}
