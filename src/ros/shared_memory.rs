//! Fast DDS without shared memory.
//!
//! Through shared memory Fast DDS hands no message from one user's process to another's: they discover each other, and
//! nothing arrives. So the unit has `FASTDDS_BUILTIN_TRANSPORTS=UDPv4`. rmw_fastrtps looks past that with a discovery
//! range of `LOCALHOST`, where it adds both transports itself (its `create_participant`). What is refused here holds for
//! every range: Fast DDS goes on without shared memory when it gets none.

use std::env;
use std::ffi::{c_char, c_int, c_void};
use std::mem::ManuallyDrop;

use libloading::os::unix::{Library, Symbol};

use super::discovery::{self, Variable};

/// Which transports Fast DDS makes by itself; since 2.13.
const TRANSPORTS: &str = "FASTDDS_BUILTIN_TRANSPORTS";

/// What the unit has it be.
pub(super) const UDP: Variable = (TRANSPORTS, "UDPv4");

/// "Permission denied" (errno(3)), a number that it has on every architecture of Linux.
const EACCES: c_int = 13;

/// dlsym(3): looks in the libraries behind the program.
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;

/// Whether the environment asks Fast DDS for UDP alone. It gets no shared memory then.
pub fn is_udp_alone() -> bool {
    env::var_os(TRANSPORTS).is_some_and(|value| value.as_encoded_bytes().starts_with(b"UDP"))
}

/// Whether rmw_fastrtps asks for shared memory all the same, and Fast DDS has errors to tell of.
pub(super) fn is_asked_for_in_vain() -> bool {
    is_udp_alone() && discovery::is_localhost() && !is_another_rmw()
}

/// Whether another RMW than that of Fast DDS, the default, is asked for.
pub(super) fn is_another_rmw() -> bool {
    env::var_os("RMW_IMPLEMENTATION")
        .is_some_and(|rmw| !rmw.is_empty() && !rmw.as_encoded_bytes().starts_with(b"rmw_fastrtps"))
}

type ShmOpen = unsafe extern "C" fn(*const c_char, c_int, u32) -> c_int;

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// shm_open(3), which every library of this process gets instead of libc's: where [`is_udp_alone`], it fails with `EACCES`.
///
/// # Safety
/// That of libc's: `name` is a string that ends with a null byte.
// SAFETY: the name is libc's on purpose, and so are parameters and result. build.rs has the program export it, without
// which nothing but this crate would see it.
#[unsafe(no_mangle)]
unsafe extern "C" fn shm_open(name: *const c_char, flags: c_int, mode: u32) -> c_int {
    let libc = ManuallyDrop::new(
        // SAFETY: RTLD_NEXT is a handle that dlsym takes, and it is never closed.
        unsafe { Library::from_raw(RTLD_NEXT) },
    );
    // SAFETY: that is libc's function, with this type.
    let open: Result<Symbol<ShmOpen>, _> = unsafe { libc.get(b"shm_open\0") };
    match open {
        // SAFETY: the caller has promised what it asks for.
        Ok(open) if !is_udp_alone() => unsafe { open(name, flags, mode) },
        _ => {
            // SAFETY: that is this thread's own errno.
            unsafe { *__errno_location() = EACCES };
            -1
        }
    }
}
