import { defineConfig } from 'vite';

export default defineConfig({
  // The page is served at /graphql and its files below it: an ingress that forwards /graphql, under whatever prefix,
  // forwards everything the page needs.
  base: './',
  build: {
    assetsDir: 'graphql/assets',
    assetsInlineLimit: 0, // the Content-Security-Policy lets fonts and images come from files, not from data: addresses
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 5000, // Monaco is one large chunk
    license: { fileName: 'licenses.md' },
  },
  worker: { format: 'es' },
});
