//! What `--help` of a command ends with.

pub const PROGRAM: &str = "\
Examples:
  vnet-engine demo
  vnet-engine train --data DATA --out RUN
  vnet-engine segment --model RUN --input scan.nii.gz --output organ.nii.gz

DATA holds images/ and labels/ with equal file names, or is a table of cases
(.csv with columns image, label, split).

Results go to stdout, progress and errors to stderr. Exit status: 0 success,
2 wrong usage or input, 1 other failures, 130 and 143 after Ctrl-C and SIGTERM.";

pub const TRAIN: &str = "\
Examples:
  vnet-engine train --data DATA --out RUN --dry-run
  vnet-engine train --data DATA --out RUN
  vnet-engine train --data DATA --out RUN --resume
  vnet-engine train --data DATA --out RUN --preset paper --steps 20000
  vnet-engine train --data DATA --out RUN -q --json | jq .best
  for i in 0 1 2 3 4; do
    vnet-engine train --data DATA --out RUN$i --fold $i/5
  done";

pub const CROSS_VALIDATE: &str = "\
Examples:
  vnet-engine cross-validate --data DATA --out CV
  vnet-engine segment --model CV/ensemble --input SCANS --output ORGANS
  for i in 0 1 2 3 4; do
    vnet-engine cross-validate --data DATA --out CV --only $i
  done
  vnet-engine cross-validate --data DATA --out CV --collect";

pub const SEGMENT: &str = "\
Examples:
  vnet-engine segment --model RUN --input scan.nii.gz --output organ.nii.gz
  vnet-engine segment --model RUN --input SCANS --output ORGANS --continue
  vnet-engine segment --model RUN0 --model RUN1 --input SCANS --output ORGANS
  for i in 0 1 2; do
    vnet-engine segment --model RUN --input scans.csv --output ORGANS --part $i/3
  done";

pub const EVALUATE: &str = "\
Examples:
  vnet-engine evaluate --predictions ORGANS --labels LABELS --out SCORES
  vnet-engine evaluate --predictions ORGANS --labels LABELS --out SCORES --tolerance 2 --tolerance tumour=3
  vnet-engine evaluate --compare A B --labels LABELS --out COMPARISON";

pub const INFO: &str = "\
Examples:
  vnet-engine info --preset paper
  vnet-engine info RUN --json | jq .parameters";

pub const INSPECT: &str = "\
Example:
  vnet-engine inspect --json SCANS/*.nii.gz | jq -c '[.path, .shape]'";

pub const BENCH: &str = "\
Examples:
  vnet-engine bench --preset paper --batch 1 --layer decoder.0
  vnet-engine bench --conv 32,32,32x64x64 --json";

pub const DOCTOR: &str = "\
Exit status 1 when a kernel is outside its bound.

Examples:
  vnet-engine doctor --device 1
  vnet-engine doctor --json | jq '.kernels[] | select(.passed | not)'";

pub const COMPLETIONS: &str = "\
Examples:
  vnet-engine completions bash > ~/.local/share/bash-completion/completions/vnet-engine
  vnet-engine completions zsh > ~/.zfunc/_vnet-engine
  vnet-engine completions fish > ~/.config/fish/completions/vnet-engine.fish";

pub const MAN: &str = "\
Example:
  vnet-engine man ~/.local/share/man/man1 && man vnet-engine-train";
