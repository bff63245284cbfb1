// PostGraphile 5 over the benchmark's database: node server.mjs PORT DATABASE_URL
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { addPgTableCondition, makeJSONPgSmartTagsPlugin } from "postgraphile/utils";

const [port, databaseUrl] = process.argv.slice(2);
const incidents = { schemaName: "public", tableName: "incidents" };

const preset = {
  extends: [PostGraphileAmberPreset],
  plugins: [
    // Named like an enum of the same schema, which PostGraphile refuses.
    makeJSONPgSmartTagsPlugin({
      version: 1,
      config: { class: { alert_dispositions: { tags: { name: "alert_disposition_rows" } } } },
    }),
    // The two filters of the contract that are no equality.
    addPgTableCondition(
      incidents,
      "active",
      (build) => ({ type: build.graphql.GraphQLBoolean }),
      (active, { sql, sqlTableAlias: incident }) =>
        active ? sql`${incident}.status <> 'RESOLVED'` : sql`${incident}.status = 'RESOLVED'`,
    ),
    addPgTableCondition(
      incidents,
      "startedBefore",
      (build) => ({ type: build.getTypeByName("Datetime") }),
      (before, { sql, sqlTableAlias: incident }) => sql`${incident}.started_at < ${sql.value(before)}::timestamptz`,
    ),
  ],
  pgServices: [makePgService({ connectionString: databaseUrl, schemas: ["public"], poolConfig: { max: 10 } })],
  grafserv: { graphqlPath: "/graphql", graphiql: false, websockets: false },
};

const server = createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(Number(port), "127.0.0.1");
