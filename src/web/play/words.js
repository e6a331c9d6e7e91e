// What the page says, in the languages that it knows. `{name}` stands for a value; where there are
// two forms, `|` parts the one for 1 from the one for all other numbers of `{count}`.

export const LANGUAGES = ['en', 'zh'];

const WORDS = {
  title: ['Live quiz', '直播答题'],
  otherLanguage: ['中文', 'English'],
  languageSwitch: ['切换到中文', 'Switch to English'],
  online: ['{count} online', '{count} 人在线'],
  entranceTitle: ['Join the show', '加入答题'],
  token: ['Access token, or the whole link', '访问令牌，或整个链接'],
  room: ['Room', '房间'],
  enter: ['Join', '加入'],
  leave: ['Leave the show', '离开'],
  noToken: ['Give a token and the number of a room.', '请填写令牌和房间号。'],
  tokenRefused: ['The gateway does not take this token. Ask for a new one.',
    '令牌无效或已过期，请重新获取。'],
  roomRefused: ['There is no such room for this token.', '这个令牌不能进入该房间。'],
  replaced: ['The show was opened elsewhere with this token.', '此令牌已在别处打开。'],
  closed: ['The connection is closed ({code}).', '连接已关闭（{code}）。'],
  connecting: ['Connecting …', '正在连接…'],
  reconnecting: ['Connection lost. Coming back …', '连接中断，正在恢复…'],
  progress: ['Question {number} of {count}', '第 {number} 题，共 {count} 题'],
  questions: ['{count} question|{count} questions', '共 {count} 题'],
  in_play: ['In the game', '在局中'],
  out: ['Out', '已出局'],
  spectator: ['Watching', '观看中'],
  winner: ['Winner', '胜出'],
  cards: ['{count} revive card|{count} revive cards', '复活卡 {count} 张'],
  pool: ['Prize {amount}', '奖金 {amount}'],
  noShow: ['There is no show in this room yet. Stay, it may begin.', '本房间暂时没有答题，请稍候。'],
  welcome: ['Get ready', '准备开始'],
  startsSoon: ['The show is about to start.', '即将开始。'],
  startsLater: ['The show starts at {time}.', '{time} 开始。'],
  comingQuestion: ['The next question is here, sealed. It opens in a moment.',
    '下一题已送达，密封中，马上揭晓。'],
  nextQuestion: ['The next question comes soon.', '下一题马上开始。'],
  secondsLeft: ['{count} second left|{count} seconds left', '还剩 {count} 秒'],
  choose: ['Choose one answer: the first one counts.', '请选择一个答案，以第一次为准。'],
  lastQuestion: ['Last question: no revive card helps here.', '最后一题，复活卡无效。'],
  answering: ['Sending your answer …', '正在提交…'],
  sealed: ['Answer {letter} is on record. The result is sealed until the reveal.',
    '答案 {letter} 已记录，结果密封，等待揭晓。'],
  notTaken: ['Your answer was not taken: {reason}.', '答案未被接受：{reason}。'],
  timeUp: ['Time is up. The answer comes soon.', '时间到，即将揭晓。'],
  timeUpSilent: ['Time is up, and you gave no answer.', '时间到，你没有作答。'],
  watching: ['You are watching. The question is for the others.', '你在观看，本题由其他人作答。'],
  counted: ['{count} answer|{count} answers', '{count} 人'],
  correct: ['correct', '正确答案'],
  yours: ['your answer', '你的答案'],
  inPlay: ['{count} goes on.|{count} go on.', '{count} 人晋级。'],
  passed: ['Correct!', '回答正确！'],
  passedRecord: ['Correct, and your new record!', '回答正确，刷新个人纪录！'],
  revived: ['Not this time, but your revive card saved you.', '没有答对，复活卡救了你。'],
  wrong: ['Wrong: you are out.', '回答错误，你已出局。'],
  late: ['Too late: you are out.', '回答超时，你已出局。'],
  silent: ['No answer: you are out.', '没有作答，你已出局。'],
  unreachable: ['You were not connected: you are out.', '连接中断，你已出局。'],
  stayed: ['Stay and watch: red packets are for everybody.', '留下来看吧，红包人人有份。'],
  revealed: ['The answer is {letter}.', '正确答案是 {letter}。'],
  rejudged: ['The question was judged again: the answer is {letter}.', '本题重新判定，正确答案是 {letter}。'],
  voided: ['The question does not count.', '本题作废。'],
  unchecked: ['This result is not what the question promised.', '此结果与题目承诺不符。'],
  paused: ['The show pauses.', '答题暂停。'],
  cancelled: ['The show was called off.', '答题已取消。'],
  settling: ['The prize is being shared …', '正在分配奖金…'],
  wonTitle: ['You won!', '你赢了！'],
  won: ['Your share of {pool}, with {count} winner in all.|Your share of {pool}, with {count} winners in all.',
    '{count} 人平分 {pool}，这是你的一份。'],
  settledTitle: ['The prize is shared', '奖金已分配'],
  settled: ['{count} winner gets {amount}.|{count} winners get {amount} each.',
    '{count} 人胜出，每人 {amount}。'],
  noWinner: ['Nobody won the prize this time.', '本场无人胜出。'],
  ended: ['The show is over. Stay for the next one.', '本场结束，请等待下一场。'],
  rainTitle: ['Red packets!', '红包雨！'],
  tap: ['Tap to grab one', '点击抢红包'],
  rainGot: ['{count} packet with {amount}.|{count} packets with {amount}.', '抢到 {count} 个，共 {amount}。'],
  rainNone: ['Nothing yet. Tap!', '还没有，继续点！'],
  rainUsed: ['All your taps are used.', '次数已用完。'],
  rainOver: ['The rain is over: {count} packet with {amount} was grabbed.|'
    + 'The rain is over: {count} packets with {amount} were grabbed.',
  '红包雨结束：共抢到 {count} 个，{amount}。'],
  chat: ['Chat', '聊天'],
  say: ['Say something', '说点什么'],
  send: ['Send', '发送'],
  you: ['You', '你'],
  service: ['Host', '主持人'],
  user: ['User {id}', '用户 {id}'],
  notSaid: ['Not sent: {reason}.', '发送失败：{reason}。'],
  reason_connection: ['no connection', '没有连接'],
  reason_rate_limited: ['too fast', '太快了'],
  reason_flood: ['too fast', '太快了'],
  reason_duplicate: ['said already', '重复内容'],
  reason_muted: ['you are muted', '你被禁言'],
  reason_word_refused: ['a word is not allowed', '含有敏感词'],
  reason_text_too_long: ['too long', '内容过长'],
  reason_room_overloaded: ['the room is full of talk, try again', '聊天太热闹，请稍后再试'],
  reason_question_closed: ['the question is closed', '本题已截止'],
  reason_out_of_game: ['you are out of the game', '你已出局'],
  reason_not_current_question: ['the question is closed', '本题已截止'],
  reason_answer_bound: ['your first answer counts', '以第一次答案为准'],
};

/** The language of the page for a browser that prefers these. */
export function languageFor(preferred) {
  const known = preferred.map((tag) => tag.toLowerCase().split('-')[0]);
  return known.find((language) => LANGUAGES.includes(language)) ?? LANGUAGES[0];
}

/** What says things in a language. */
export class Speaker {
  constructor(language) {
    this.language = language;
    this.place = LANGUAGES.indexOf(language);
    this.number = new Intl.NumberFormat(language);
    const money = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
    this.money = new Intl.NumberFormat(language, money);
    this.time = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
  }

  /** A sentence, with its values put in. */
  say(key, values = {}) {
    const forms = WORDS[key][this.place].split('|');
    const form = values.count === 1 ? forms[0] : forms.at(-1);
    return form.replace(/\{(\w+)\}/g, (_, name) => {
      const value = values[name];
      return typeof value === 'number' ? this.number.format(value) : String(value);
    });
  }

  /** An amount of cents. */
  amount(cents) { return this.money.format(cents / 100); }

  /** A reason of the schema: in words where the page has some, else as it is. */
  reason(reason) {
    const key = `reason_${reason}`;
    return WORDS[key] ? this.say(key) : reason.replaceAll('_', ' ');
  }
}
