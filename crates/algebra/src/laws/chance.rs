//! Whether failures are more than chance explains.

use super::{Broken, Result};

/// Of independent tries, each of which may fail with probability at most `failure_probability`, no more have failed
/// than chance explains: a sound structure is found broken with a probability below 10⁻⁹ (Hoeffding's bound in the
/// form of Chernoff, 1952: `P(X ≥ qn) ≤ exp(−n·KL(q‖p))`).
///
/// # Errors
/// When more have.
pub fn fails_at_most(failure_probability: f64, held: impl IntoIterator<Item = bool>) -> Result {
    let (mut tries, mut failures) = (0.0, 0.0);
    for held in held {
        tries += 1.0;
        failures += if held { 0.0 } else { 1.0 };
    }
    let (p, q): (f64, f64) = (
        failure_probability,
        if tries == 0.0 { 0.0 } else { failures / tries },
    );
    if q <= p {
        return Ok(());
    }
    let divergence = q * (q / p).ln()
        + if q < 1.0 {
            (1.0 - q) * ((1.0 - q) / (1.0 - p)).ln()
        } else {
            0.0
        };
    if -tries * divergence < 1e-9_f64.ln() {
        return Err(Broken(format!(
            "fails more often than its bound: tries={tries} failures={failures} allowed={p}"
        )));
    }
    Ok(())
}
