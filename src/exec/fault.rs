use super::{Executor, Prepared};
use crate::gpu::{After, GpuError};
use crate::kernel::Access;

impl Executor {
    /// Like [`Executor::run`], one submission per dispatch, with the fault that is armed.
    pub(super) fn run_with_faults(&self, program: usize) -> Result<(), GpuError> {
        for (i, dispatch) in self.programs[program].iter().enumerate() {
            self.submit(std::slice::from_ref::<Prepared>(dispatch));
            match self.gpu.faults.after_dispatch() {
                After::Nothing => {}
                After::Lose => self.gpu.lose(),
                After::Spoil => self.spoil(program, i),
            }
            self.gpu.check()?;
        }
        Ok(())
    }

    fn spoil(&self, program: usize, dispatch: usize) {
        let bindings = &self.plan.programs[program].dispatches[dispatch].bindings;
        let (window, _) = bindings.iter().find(|(_, access)| *access == Access::Write).expect("every dispatch writes");
        self.gpu.queue.write_buffer(&self.buffers[window.buffer], window.offset, &f32::NAN.to_le_bytes());
    }
}
