//! Whether the system's wall clock is kept right: the kernel knows, whoever keeps it (systemd-timesyncd, chrony, ntpd, PTP).

use std::mem::MaybeUninit;
use std::path::Path;

/// Made by systemd-timesyncd when it has set the clock in this boot. For where the kernel may not be asked: `ProtectClock=`
/// in a service forbids that along with setting the clock.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// The kernel's word if it may be asked, else systemd-timesyncd's.
pub(super) fn is_synchronised() -> bool {
    decide(kernel(), || Path::new(TIMESYNCD).exists())
}

fn decide(kernel: Option<bool>, timesyncd: impl FnOnce() -> bool) -> bool {
    kernel.unwrap_or_else(timesyncd)
}

/// adjtimex(2) that adjusts nothing, which everybody may. `None`: it was refused.
fn kernel() -> Option<bool> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    #[expect(
        unsafe_code,
        reason = "no crate in use wraps this call; struct timex is plain numbers, for which zeros are a value, and with `modes` 0 \
                  the kernel only writes into it"
    )]
    let (result, status) = unsafe {
        let result = libc::adjtimex(state.as_mut_ptr());
        (result, state.assume_init().status)
    };
    // −1 or one of the clock's states, of which TIME_ERROR is “not synchronised”.
    (result >= 0).then_some(result != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_believed_and_else_timesyncd() {
        for known in [true, false] {
            assert_eq!(decide(Some(known), || !known), known);
            assert_eq!(decide(None, || known), known);
        }
    }

    #[test]
    fn the_kernel_says_the_same_twice() {
        // Whatever it is on this machine; a sandbox may refuse to say.
        assert_eq!(kernel(), kernel());
    }
}
