// Asks both oracles about every text of standard input (a JSON object a line, as corpus.py writes them) and writes the
// line with their answers: encoding, and the units of each part (septets, or UTF-16 code units).
import { createInterface } from "node:readline";
import calculator from "sms-segments-calculator";
import splitter from "split-sms";

function calculated(text) {
  const message = new calculator.SegmentedMessage(text);
  const bits = message.encodingName === "GSM-7" ? 7 : 16;
  return [message.encodingName, message.segments.map((segment) => segment.messageSizeInBits() / bits)];
}

function split(text) {
  const { characterSet, parts } = splitter.split(text);
  const [encoding, octets] = characterSet === splitter.GSM ? ["GSM-7", 1] : ["UCS-2", 2];
  return [encoding, parts.map((part) => part.bytes / octets)];
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const asked = JSON.parse(line);
  const text = asked.text.map(([piece, times]) => piece.repeat(times)).join("");
  const answer = { ...asked, calculator: calculated(text), splitter: split(text) };
  process.stdout.write(JSON.stringify(answer) + "\n");
}
