//! The examples that align something do align it.

#[allow(dead_code, reason = "an example's `main`")]
#[path = "../examples/own_policy.rs"]
mod own_policy;

#[allow(dead_code, reason = "an example's `main`")]
#[path = "../examples/own_reward.rs"]
mod own_reward;

#[test]
fn a_policy_of_ones_own_learns_to_move_in_steps() -> musicrl_core::Result<()> {
    let (before, after) = own_policy::align()?;
    assert!(before < 0.35 && after > 0.8, "{before} {after}");
    Ok(())
}

#[test]
fn a_reward_of_ones_own_is_raised() -> musicrl_core::Result<()> {
    let (before, after) = own_reward::align()?;
    assert!(before < 0.65 && after > 0.85, "{before} {after}");
    Ok(())
}
