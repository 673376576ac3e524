import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.DefaultConsistencyLevel;
import com.datastax.oss.driver.api.core.cql.AsyncResultSet;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.api.core.ssl.ProgrammaticSslEngineFactory;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletionStage;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Reads one feature of the carriers that are named: java ... ReadFeatures AA B6 */
public final class ReadFeatures {
    private static final Duration LOOKBACK = Duration.ofDays(2); // the view's
    private static final String QUERY =
            "SELECT carrier_mean_delay_24h, event_timestamp FROM features.carrier_delay__v1 WHERE carrier = ?";

    public static void main(String[] carriers) throws Exception {
        try (CqlSession session = connect()) {
            // Prepared once; the driver then sends each key straight to one of its replicas.
            PreparedStatement statement = session.prepare(QUERY);
            List<CompletionStage<AsyncResultSet>> reads = new ArrayList<>();
            for (String carrier : carriers) {
                reads.add(session.executeAsync(
                        statement
                                .bind(carrier)
                                .setConsistencyLevel(DefaultConsistencyLevel.LOCAL_QUORUM)
                                .setIdempotent(true)));
            }
            Instant now = Instant.now();
            for (int at = 0; at < carriers.length; at++) {
                Row row = reads.get(at).toCompletableFuture().join().one();
                System.out.println(carriers[at] + " " + describe(row, now));
            }
        }
    }

    private static String describe(Row row, Instant now) {
        if (row == null) {
            return "NOT_FOUND";
        }
        Instant event = Instant.EPOCH.plus(row.getLong("event_timestamp"), ChronoUnit.MICROS);
        if (Duration.between(event, now).compareTo(LOOKBACK) > 0) {
            return "EXPIRED";
        }
        // getDouble would answer 0.0 for null.
        Double mean = row.get("carrier_mean_delay_24h", Double.class);
        return mean == null ? "NULL" : String.format(Locale.ROOT, "PRESENT %.2f", mean);
    }

    private static CqlSession connect() throws Exception {
        int port = Integer.parseInt(System.getenv("CASSANDRA_PORT"));
        return CqlSession.builder()
                .addContactPoint(new InetSocketAddress(System.getenv("CASSANDRA_HOST"), port))
                .withLocalDatacenter("datacenter1")
                .withAuthCredentials(System.getenv("CASSANDRA_USER"), System.getenv("CASSANDRA_PASSWORD"))
                .withSslEngineFactory(new ProgrammaticSslEngineFactory(trusting(), null, true))
                .build();
    }

    /** Trusts the authority of a PEM file, and no other. */
    private static SSLContext trusting() throws Exception {
        KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (InputStream file = Files.newInputStream(Path.of(System.getenv("CASSANDRA_CA_FILE")))) {
            int number = 0;
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                authorities.setCertificateEntry("authority-" + number++, certificate);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(authorities);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }
}
