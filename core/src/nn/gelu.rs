//! The Gaussian error linear unit: [`gelu`].

use burn::tensor::{Tensor, activation};

/// `x Phi(x)`, Phi the normal distribution function (Hendrycks and Gimpel, "Gaussian error linear units", 2016), not its
/// approximation by tanh.
///
/// With the feature `flex` (`backends/flex` asks for it) that device family has a kernel here: four times as fast, forward and
/// backward, as Burn's error function of one number at a time, and equal to it to a few units in the last place (`musicrl
/// bench`).
///
/// # Shapes
/// - x, output: any
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if flex::runs_on(&x.device()) {
        return flex::gelu(x);
    }
    activation::gelu(x)
}

#[cfg(feature = "flex")]
pub(super) use flex::{dense, runs_on as runs_on_flex};

#[cfg(feature = "flex")]
mod flex {
    use burn::{
        backend::{
            Autodiff, Backend, Dispatch, DispatchDevice, Flex,
            autodiff::{
                checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
                grads::Gradients,
                ops::{Backward, Ops, OpsKind, unary},
            },
            backend_extension,
            flex::FlexTensor,
            ops::ActivationOps,
            tensor::FloatTensor,
        },
        tensor::{DType, Device, Tensor},
    };

    use crate::nn::math;

    /// Whether the kernel is for this device.
    pub(in crate::nn) fn runs_on(device: &Device) -> bool {
        match device.as_dispatch() {
            DispatchDevice::Flex(_) => true,
            DispatchDevice::Autodiff(_) => matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_)),
            // With flex alone there is no other.
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    pub(super) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        Tensor::from_dispatch(<Dispatch as Kernels>::unit(x.into_dispatch()))
    }

    /// What is computed by kernels of our own.
    #[backend_extension(Autodiff, Flex)]
    pub trait Kernels: Backend {
        /// `x Phi(x)`.
        fn unit(x: FloatTensor<Self>) -> FloatTensor<Self>;
        /// `slope (Phi(x) + x phi(x))`.
        fn unit_backward(x: FloatTensor<Self>, slope: FloatTensor<Self>) -> FloatTensor<Self>;
    }

    /// Contiguous, from the first number of its storage on.
    pub(in crate::nn) fn dense(x: FlexTensor) -> FlexTensor {
        if x.is_contiguous() && x.layout().start_offset() == 0 { x } else { x.to_contiguous() }
    }

    impl Kernels for Flex {
        fn unit(x: FlexTensor) -> FlexTensor {
            if x.dtype() != DType::F32 {
                return <Self as ActivationOps<Self>>::gelu(x);
            }
            let mut x = dense(x);
            let numbers = x.layout().num_elements();
            x.storage_mut::<f32>()[..numbers].iter_mut().for_each(|x| *x = math::gelu(*x));
            x
        }

        fn unit_backward(x: FlexTensor, slope: FlexTensor) -> FlexTensor {
            if x.dtype() != DType::F32 {
                return <Self as ActivationOps<Self>>::gelu_backward(x, slope);
            }
            let (x, mut slope) = (dense(x), dense(slope));
            let numbers = x.layout().num_elements();
            let slopes = slope.storage_mut::<f32>()[..numbers].iter_mut();
            slopes.zip(x.storage::<f32>()).for_each(|(slope, x)| *slope *= math::gelu_slope(*x));
            slope
        }
    }

    impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
        fn unit(x: FloatTensor<Self>) -> FloatTensor<Self> {
            #[derive(Debug)]
            struct Unit;

            impl<B: Kernels> Backward<B, 1> for Unit {
                type State = FloatTensor<B>;

                fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
                    unary::<B, _>(ops.parents, ops.node, gradients, |slope| B::unit_backward(ops.state, slope));
                }
            }

            let (x, node) = x.into_parts();
            match Unit.prepare::<C>([node]).compute_bound().stateful() {
                OpsKind::Tracked(step) => step.finish(x.clone(), B::unit(x)),
                OpsKind::UnTracked(step) => step.finish(B::unit(x)),
            }
        }

        /// Not differentiated further: nothing here takes second derivatives.
        fn unit_backward(x: FloatTensor<Self>, slope: FloatTensor<Self>) -> FloatTensor<Self> {
            <Self as ActivationOps<Self>>::gelu_backward(x, slope)
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use alloc::vec::Vec;

    use burn::tensor::{DType, Device, TensorData};

    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.37).sin() * 4.0).collect()
    }

    fn read<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
        x.clone().into_data().iter::<f64>().collect()
    }

    fn check<const D: usize>(x: &Tensor<D>, tolerance: f64) {
        let before = read(x);
        for (got, want) in read(&gelu(x.clone())).iter().zip(read(&activation::gelu(x.clone()))) {
            assert!((got - want).abs() < tolerance, "{got} for {want}");
        }
        assert_eq!(read(x), before, "the input is another's too");
    }

    #[test]
    fn the_kernel_computes_what_burn_does_on_every_layout() {
        let device = Device::flex();
        let x = Tensor::<2>::from_data(TensorData::new(numbers(84), [7, 12]), &device);
        check(&x, 1e-6);
        check(&x.clone().transpose(), 1e-6);
        check(&x.clone().slice([2..5, 3..9]), 1e-6);
        check(&x.clone().slice([2..5, 0..12]), 1e-6);
        check(&x.clone().cast(DType::F64), 1e-15);
        check(&Tensor::<2>::zeros([0, 4], &device), 0.0);
        assert_eq!(gelu(x.swap_dims(0, 1)).dims(), [12, 7]);
    }

    #[test]
    fn the_gradient_is_that_of_burn() {
        let device = Device::flex().autodiff();
        let slopes = |unit: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let x = Tensor::<2>::from_data(TensorData::new(numbers(60), [5, 12]), &device).require_grad();
            // Through a transpose and a slice, whose gradients come back in other layouts; x is used twice.
            let y = unit(x.clone().transpose().slice([1..11, 0..5])).powf_scalar(2.0).sum() + unit(x.clone()).sum();
            read(&x.grad(&y.backward()).unwrap())
        };
        let (ours, burns) = (slopes(&gelu), slopes(&activation::gelu));
        assert!(ours.iter().any(|slope| slope.abs() > 1.0));
        for (got, want) in ours.iter().zip(burns) {
            assert!((got - want).abs() < 2e-5 * want.abs().max(1.0), "{got} for {want}");
        }
    }

    #[test]
    fn f64_has_a_gradient_too() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data(TensorData::from([0.7_f64]), (&device, DType::F64)).require_grad();
        let slope = read(&x.grad(&gelu(x.clone()).sum().backward()).unwrap())[0];
        let step = 1e-6;
        let at = |x: f64| 0.5 * x * (1.0 + libm::erf(x * core::f64::consts::FRAC_1_SQRT_2));
        assert!((slope - (at(0.7 + step) - at(0.7 - step)) / (2.0 * step)).abs() < 1e-8, "{slope}");
    }
}
