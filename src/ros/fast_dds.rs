//! What Fast DDS has to be told past rcl.

use std::ffi::c_void;

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL, Symbol};
use r2r_rcl::{rcl_node_get_rmw_handle, rmw_node_t};

use super::context::Node;
use super::type_support::rmw_name;

const RMW: &str = "rmw_fastrtps_cpp";

/// Why Fast DDS could not be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untold {
    /// It is another RMW.
    #[error("with {0} that takes a restart of the bridge")]
    AnotherRmw(String),
    /// It does not have what it has in the versions of Humble to Kilted.
    #[error("this Fast DDS can't be told of it ({0}), so that it takes a restart of the bridge")]
    AnotherFastDds(#[from] libloading::Error),
    /// It does not say which participant the node has.
    #[error("Fast DDS does not know the node, so that it takes a restart of the bridge")]
    NoParticipant,
    /// It refuses.
    #[error("Fast DDS refuses to look at them (return code {0}), so that it takes a restart of the bridge")]
    Refused(u32),
}

/// Has Fast DDS read the addresses of this machine again, with which contexts are made from now on.
///
/// Since 2.14 Fast DDS reads them once and keeps them for all participants of the process: a second one announces the
/// addresses that there were when the first was made. What reads them anew is `DomainParticipant::set_qos`, as documented,
/// also if it sets what is set already.
pub(super) fn read_addresses(node: &Node) -> Result<(), Untold> {
    let rmw = rmw_name();
    if rmw != RMW {
        return Err(Untold::AnotherRmw(rmw));
    }
    // SAFETY: the library is loaded already, as it is the RMW in use. The functions are public ones of rmw_fastrtps_cpp
    // (get_participant.hpp) and Fast DDS (DomainParticipant.hpp), with these parameters: the mangled names carry them. A
    // method takes the object as its first parameter, a reference is passed as a pointer, and a return code is one 32-bit
    // number, in Fast DDS 2 as the only member of a trivial class. The node is alive, hence its participant.
    unsafe {
        let library = Library::open(Some(format!("lib{RMW}.so")), RTLD_LAZY | RTLD_LOCAL)?;
        let participant: Symbol<unsafe extern "C" fn(*const rmw_node_t) -> *const c_void> =
            library.get(b"_ZN16rmw_fastrtps_cpp22get_domain_participantEP10rmw_node_s\0")?;
        let get_qos: Symbol<unsafe extern "C" fn(*const c_void) -> *const c_void> =
            library.get(b"_ZNK8eprosima7fastdds3dds17DomainParticipant7get_qosEv\0")?;
        let set_qos: Symbol<unsafe extern "C" fn(*const c_void, *const c_void) -> u32> =
            library.get(b"_ZNK8eprosima7fastdds3dds17DomainParticipant7set_qosERKNS1_20DomainParticipantQosE\0")?;
        let participant = participant(rcl_node_get_rmw_handle(node.as_ptr()));
        if participant.is_null() {
            return Err(Untold::NoParticipant);
        }
        match set_qos(participant, get_qos(participant)) {
            0 => Ok(()),
            code => Err(Untold::Refused(code)),
        }
    }
}

/// While it lives, Fast DDS's own log, which goes to standard output, says nothing.
pub(super) struct Hushed(Library);

/// Silences Fast DDS's own log; `None` where that is not possible: with another RMW or another Fast DDS.
pub(super) fn hush() -> Option<Hushed> {
    if rmw_name() != RMW {
        return None;
    }
    // SAFETY: the library is loaded already, as it is the RMW in use. The methods are static, public ones of Fast DDS
    // (Log.hpp) without parameters.
    unsafe {
        let library = Library::open(Some(format!("lib{RMW}.so")), RTLD_LAZY | RTLD_LOCAL).ok()?;
        let hushed = Hushed(library);
        // Those that end it have to be there, too.
        hushed.method(FLUSH)?;
        hushed.method(RESET)?;
        hushed.method(CLEAR_CONSUMERS)?();
        Some(hushed)
    }
}

const CLEAR_CONSUMERS: &[u8] = b"_ZN8eprosima7fastdds3dds3Log14ClearConsumersEv\0";
const FLUSH: &[u8] = b"_ZN8eprosima7fastdds3dds3Log5FlushEv\0";
const RESET: &[u8] = b"_ZN8eprosima7fastdds3dds3Log5ResetEv\0";

impl Hushed {
    /// # Safety
    /// `name` has to be that of a function without parameters and result.
    unsafe fn method(&self, name: &[u8]) -> Option<Symbol<unsafe extern "C" fn()>> {
        // SAFETY: the caller's promise.
        unsafe { self.0.get(name) }.ok()
    }
}

impl Drop for Hushed {
    fn drop(&mut self) {
        for name in [FLUSH, RESET] {
            // SAFETY: as in `hush`. The first waits for what is said already, the second gives the log what it has by
            // default: standard output.
            unsafe {
                if let Some(method) = self.method(name) {
                    method();
                }
            }
        }
    }
}
