// Reads one feature of the carriers that are named: node read_features.js AA B6
import { readFileSync } from "node:fs";
import cassandra from "cassandra-driver";

const LOOKBACK_MICROS = 2n * 24n * 3_600_000_000n; // the view's: 2 days

const client = new cassandra.Client({
  contactPoints: [process.env.CASSANDRA_HOST],
  protocolOptions: { port: Number(process.env.CASSANDRA_PORT) },
  localDataCenter: "datacenter1",
  credentials: { username: process.env.CASSANDRA_USER, password: process.env.CASSANDRA_PASSWORD },
  sslOptions: { ca: [readFileSync(process.env.CASSANDRA_CA_FILE)], rejectUnauthorized: true },
  queryOptions: { consistency: cassandra.types.consistencies.localQuorum, prepare: true, isIdempotent: true },
  // A bigint as BigInt: a Number is exact to 2^53 only.
  encoding: { useBigIntAsLong: true },
});

const QUERY = "SELECT carrier_mean_delay_24h, event_timestamp FROM features.carrier_delay__v1 WHERE carrier = ?";

function describe(row, nowMicros) {
  if (!row) return "NOT_FOUND";
  if (nowMicros - row.event_timestamp > LOOKBACK_MICROS) return "EXPIRED";
  if (row.carrier_mean_delay_24h === null) return "NULL";
  return `PRESENT ${row.carrier_mean_delay_24h.toFixed(2)}`;
}

try {
  const carriers = process.argv.slice(2);
  const nowMicros = BigInt(Date.now()) * 1000n;
  // One query for each key, all at once: each goes straight to a replica of its key.
  const answers = await Promise.all(carriers.map((carrier) => client.execute(QUERY, [carrier])));
  answers.forEach((answer, at) => console.log(`${carriers[at]} ${describe(answer.first(), nowMicros)}`));
} finally {
  await client.shutdown();
}
