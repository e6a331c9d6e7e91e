//! Chat as people write it: a corpus of phrases, half of them Chinese, drawn by Zipf's law.
//!
//! The corpus is made of syllables and characters with a seed of its own, so it is the same
//! everywhere. Real chat compresses better or worse with its show; this one is made to be hard:
//! `gzip -9` of a thousand messages leaves more than a third.

use std::collections::BTreeSet;

use tidegate::base::entropy::{Entropy, SeededEntropy};

use crate::common::stats::as_f64;

/// Phrases of the corpus.
pub(crate) const PHRASES: usize = 5_200;

const BEGINNINGS: &str = "b c d f g h k l m n p r s t v w z bl br ch cl cr dr fl gr pl pr sh st tr";
const VOWELS: &str = "a e i o u ai ea ee io oo ou";
const ENDINGS: &str = "n r s l t m ck nd x";
const CHARACTERS: &str = "我你他她们大家主播老师同学朋友妈爸哥姐弟妹板高手新人选冠军观众\
    今天明昨晚上早周末现在刚才马以后终于已经一直总是有时从来忽然慢赶紧再次\
    这题那问答案项目奖金红包复活卡直间持倒计网络信号画面声音机屏幕弹礼物\
    太难简单真好看听厉害可爱搞笑感动无聊激开心过生气着急淡定惜幸运奇怪趣\
    知道不觉得希望想要喜欢讨厌记忘错对蒙猜到见说等加油坚冲啊放弃\
    淘汰晋级通关瓜分领取点赞注转发享报名迟退出进回休息睡吃饭\
    北京海广州深圳成都重庆杭武汉西安南津苏长沙青岛厦昆哈尔滨疆藏\
    火锅烤鸭饺子条米豆浆奶茶咖啡苹果香蕉蛋糕烧小龙虾螺蛳粉糖葫芦月饼粽汤圆\
    历史地理数化语文英乐电影足球篮乒乓象棋唐诗宋词三国楼梦游城\
    虎熊猫豚鹰恐猴兔蜘蛛鲸狗企鹅孔雀蝴蝶亮阳星漠第二最全部半很多十个百万两千色蓝绿黄黑白紫\
    非常特别居其实当能概幸反正底怎么什为少呜哇塞哪救命绝死服稳完谢晚恭辛苦抱歉没事";
const BETWEEN: [&str; 16] = [
    " ", "，", "！", " ~", "… ", "。", "? ", "!! ", " :) ", "、", "～", " - ", "+1 ", "；",
    " lol ", "哈",
];

/// The corpus, and where its next message comes from.
pub(crate) struct Corpus {
    phrases: Vec<String>,
    /// Of the weights 1, 1/2, 1/3, …: sums up to each phrase.
    sums: Vec<f64>,
    entropy: SeededEntropy,
}

impl Corpus {
    /// The same for the same seed.
    pub(crate) fn new(seed: u64) -> Corpus {
        let mut entropy = SeededEntropy::new(seed, 0xC4A7);
        let mut known = BTreeSet::new();
        let mut phrases = Vec::with_capacity(PHRASES);
        while phrases.len() < PHRASES {
            let is_chinese = phrases.len() % 2 == 1;
            let phrase = if is_chinese { chinese(&mut entropy) } else { latin(&mut entropy) };
            if known.insert(phrase.clone()) {
                phrases.push(phrase);
            }
        }
        // Ranks are independent of the language.
        for place in (1..PHRASES).rev() {
            phrases.swap(place, below(&mut entropy, place + 1));
        }
        let mut sum = 0.0;
        let sums = (1..=PHRASES).map(|rank| {
            sum += 1.0 / as_f64(rank);
            sum
        });
        Corpus { sums: sums.collect(), phrases, entropy }
    }

    /// A message of exactly so many bytes.
    pub(crate) fn message(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            if !text.is_empty() {
                text.push_str(BETWEEN[below(&mut self.entropy, BETWEEN.len())]);
            }
            let phrase = self.phrase();
            text.push_str(&self.phrases[phrase]);
        }
        text.truncate(text.floor_char_boundary(bytes));
        while text.len() < bytes {
            text.push('!');
        }
        text
    }

    fn phrase(&mut self) -> usize {
        const STEPS: u64 = 1 << 40;
        #[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
        let share = self.entropy.below(STEPS) as f64 / STEPS as f64;
        let wanted = share * self.sums[PHRASES - 1];
        self.sums.partition_point(|sum| *sum <= wanted).min(PHRASES - 1)
    }
}

fn latin(entropy: &mut SeededEntropy) -> String {
    let ending = if entropy.below(10) > 0 { one_of(ENDINGS, entropy) } else { "" };
    [one_of(BEGINNINGS, entropy), one_of(VOWELS, entropy), ending].concat()
}

fn chinese(entropy: &mut SeededEntropy) -> String {
    let characters: Vec<char> = CHARACTERS.chars().filter(|it| !it.is_ascii()).collect();
    (0..2).map(|_| characters[below(entropy, characters.len())]).collect()
}

fn one_of<'a>(words: &'a str, entropy: &mut SeededEntropy) -> &'a str {
    let words: Vec<&str> = words.split(' ').collect();
    words[below(entropy, words.len())]
}

fn below(entropy: &mut SeededEntropy, count: usize) -> usize {
    usize::try_from(entropy.below(count as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    #[test]
    fn half_of_the_corpus_is_chinese_and_it_is_hard_to_compress() {
        let mut corpus = Corpus::new(1);
        let distinct: BTreeSet<_> = corpus.phrases.iter().collect();
        assert!(distinct.len() >= 5_000);
        let chinese = corpus.phrases.iter().filter(|phrase| !phrase.is_ascii()).count();
        assert_eq!(chinese, PHRASES / 2);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(9));
        for _ in 0..1_000 {
            let message = corpus.message(130);
            assert_eq!(message.len(), 130);
            encoder.write_all(message.as_bytes()).unwrap();
        }
        let left = as_f64(encoder.finish().unwrap().len()) / 130_000.0;
        println!("gzip -9 leaves {left:.3}");
        assert!((0.35..0.5).contains(&left), "{left}");
    }

    #[test]
    fn the_same_seed_says_the_same() {
        let say = |seed| Corpus::new(seed).message(60);
        assert_eq!(say(7), say(7));
        assert_ne!(say(7), say(8));
    }

    #[test]
    fn phrases_follow_zipfs_law() {
        let mut corpus = Corpus::new(1);
        let mut counts = vec![0_u32; PHRASES];
        (0..200_000).for_each(|_| counts[corpus.phrase()] += 1);
        // 1 / H(5,200) = 10.9 % of all is the first, half of that the second.
        assert!((20_800..22_800).contains(&counts[0]), "{}", counts[0]);
        assert!((10_200..11_600).contains(&counts[1]), "{}", counts[1]);
    }
}
