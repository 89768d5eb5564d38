//! The comparison of two methods, and the table of its differences.

use super::{Methods, Source};
use crate::metrics::{Comparison, PairedSummary};

impl Methods {
    /// Adds how two sets were compared, and the differences. `file` is the comparison's JSON, relative to the folder of the text.
    pub fn comparison(&mut self, comparison: &Comparison, file: &str) {
        let at = |key: &str| Source::new(file, key);
        self.value(&comparison.names[0].as_str().into(), &at("/names/0"));
        self.say(" and ");
        self.value(&comparison.names[1].as_str().into(), &at("/names/1"));
        self.say(
            " were compared on the same cases. Differences are those of the first minus the second in each case in which both have \
             a score; the others are left out and counted in the table. Given are their mean and, in brackets, its ",
        );
        let level = comparison.bootstrap.confidence_level;
        self.number(level, (100.0, 0), &at("/bootstrap/confidence_level"));
        self.say(" % confidence interval by the ");
        self.value(&comparison.bootstrap.method.as_str().into(), &at("/bootstrap/method"));
        self.say(" bootstrap (");
        self.value(&comparison.bootstrap.resamples.into(), &at("/bootstrap/resamples"));
        self.say(" resamples of the cases, seed ");
        self.value(&comparison.bootstrap.seed.into(), &at("/bootstrap/seed"));
        self.say(
            "), p of Wilcoxon's signed-rank test (two-sided, not corrected for the number of tests), Cohen's d of the paired \
             differences, and the rank-biserial correlation. ",
        );
        self.program();
        self.say(
            "\n\n| class | region | metric | mean difference | p | Cohen's d | rank-biserial | cases | left out |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for (position, row) in comparison.summary.iter().enumerate() {
            self.difference(row, &Source::new(file, format!("/summary/{position}")));
        }
    }

    fn difference(&mut self, row: &PairedSummary, source: &Source<'_>) {
        let of = |key: &str| Source::new(source.file, format!("{}/{key}", source.key));
        let (heading, factor, decimals) = row.metric.heading();
        self.say("| ");
        self.value(&row.class_name.as_str().into(), &of("class_name"));
        let region = row.region.key();
        self.say(&format!(" | {region} | {heading} | "));
        let Some(mean) = row.difference.mean else {
            self.say("– | – | – | – | ");
            return self.counts(row, source);
        };
        self.signed(mean, (factor, decimals), &of("difference/mean"));
        if let Some(interval) = row.difference.interval {
            self.say(" [");
            self.signed(interval.low, (factor, decimals), &of("difference/interval/low"));
            self.say(", ");
            self.signed(interval.high, (factor, decimals), &of("difference/interval/high"));
            self.say("]");
        }
        self.say(" | ");
        match row.wilcoxon {
            Some(test) => self.number(test.p, (1.0, 4), &of("wilcoxon/p")),
            None => self.say("–"),
        }
        for (value, key) in [(row.cohens_dz, "cohens_dz"), (row.rank_biserial, "rank_biserial")] {
            self.say(" | ");
            match value {
                Some(value) => self.signed(value, (1.0, 2), &of(key)),
                None => self.say("–"),
            }
        }
        self.say(" | ");
        self.counts(row, source);
    }

    fn counts(&mut self, row: &PairedSummary, source: &Source<'_>) {
        let of = |key: &str| Source::new(source.file, format!("{}/difference/{key}", source.key));
        self.value(&row.difference.defined.into(), &of("defined"));
        self.say(" | ");
        self.value(&row.difference.undefined.into(), &of("undefined"));
        self.say(" |\n");
    }
}
